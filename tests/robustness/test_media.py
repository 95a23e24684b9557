"""Videos and images that are cut, damaged, huge, or no files: an error or a warning with the name, never silence."""

import os
import resource
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

from semidff.datasets.ilsvrc_format import read_detections
from semidff.datasets.vid_json import load_vid_json
from semidff.datasets.video_list import VideoListError, load_videos
from semidff.datasets.video_readers import (
    VideoError,
    VideoWarning,
    open_stream,
    open_video,
    read_image,
)
from semidff.utils.checkpoint import CheckpointError, read_checkpoint
from tests.damaged_video import huge_png
from tests.robustness import media
from tests.robustness.verdict import limits

KINDS = (
    'mp4',
    'mov',
    'mkv',
    'webm',
    'avi',
    'flv',
    'ts',
    'mpg',
    'm2v',
    'h264',
    'frag.mp4',
    'index.mp4',
)
SHARES = (0, 0.003, 0.02, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 0.93, 0.97, 0.99, 0.998)
STREAMS = ('ts', 'mpg', 'm2v', 'h264', 'm4v.mpg', 'm1v.mpg')


@pytest.fixture(scope='session')
def whole(tmp_path_factory):
    """Whole videos, by their kind."""
    folder = tmp_path_factory.mktemp('whole')
    files = {kind: media.write(folder / f'v.{kind}') for kind in KINDS if '.' not in kind}
    files['frag.mp4'] = media.fragmented(folder / 'frag.mp4', files['mp4'])
    files['index.mp4'] = media.fragmented(folder / 'index.mp4', files['mp4'], index=True)
    return files


def read(path: Path, strict: bool = False) -> tuple[int, list[str]]:
    """Read a video; the number of its frames, and the warnings, of which each names the file."""
    with limits(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        frames = sum(1 for _ in open_stream(path, strict=strict))
    told = [str(one.message) for one in caught if issubclass(one.category, VideoWarning)]
    assert all(str(path) in text for text in told)
    return frames, told


@pytest.mark.parametrize('kind', KINDS)
def test_a_whole_video_is_read(whole, kind):
    frames, told = read(whole[kind])
    assert frames == media.FRAMES
    assert all('does not state the length' in text for text in told)
    assert bool(told) == (kind in ('ts', 'mpg', 'm2v', 'h264', 'frag.mp4'))


@pytest.mark.parametrize('share', SHARES)
@pytest.mark.parametrize('kind', KINDS)
def test_a_cut_video_is_never_silent(whole, tmp_path, kind, share):
    path = tmp_path / f'cut.{kind}'
    data = whole[kind].read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    try:
        frames, told = read(path)
    except VideoError as error:
        assert str(path) in str(error)
        return
    assert frames == media.FRAMES or told, f'{frames} frames of {media.FRAMES} and no warning'


@pytest.mark.parametrize('share', (0.3, 0.6, 0.9))
@pytest.mark.parametrize('kind', KINDS)
def test_a_cut_video_in_a_list_is_reported(whole, tmp_path, log, kind, share):
    data = whole[kind].read_bytes()
    (tmp_path / f'cut.{kind}').write_bytes(data[: int(share * len(data))])
    (tmp_path / 'list.txt').write_text(f'cut.{kind}\n')
    try:
        videos = load_videos(tmp_path / 'list.txt')
    except VideoListError as error:
        assert f'cut.{kind}' in str(error)
        return
    told = [record.getMessage() for record in log.records]
    noticed = any('cut off' in text or 'do not state their length' in text for text in told)
    assert noticed or videos[0].length == media.FRAMES, told


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('kind', KINDS)
def test_damage_inside_a_video_ends_neither_in_a_crash_nor_in_a_hang(whole, tmp_path, kind, seed):
    random = np.random.default_rng(seed)
    data = bytearray(whole[kind].read_bytes())
    start = int(random.integers(len(data)))
    data[start : start + 200] = random.bytes(len(data[start : start + 200]))
    path = tmp_path / f'damaged.{kind}'
    path.write_bytes(data)
    try:
        frames, _ = read(path)
    except VideoError as error:
        assert str(path) in str(error)
    else:
        assert frames <= 2 * media.FRAMES


@pytest.mark.parametrize('kind', STREAMS)
def test_a_change_of_size_is_reported(tmp_path, monkeypatch, kind):
    suffix = kind.rpartition('.')[2]
    codec = {'m4v.mpg': 'mp4v', 'm1v.mpg': 'MPG1'}.get(kind)
    first = media.write(tmp_path / f'a.{suffix}', codec=codec).read_bytes()
    path = tmp_path / f'two.{suffix}'
    path.write_bytes(first + media.write(tmp_path / f'b.{suffix}', (64, 48), codec).read_bytes())
    frames, told = read(path)
    assert frames > media.FRAMES and any('the size of the frames changes' in text for text in told)
    with pytest.raises(VideoError, match='the size of the frames changes'):
        read(path, strict=True)
    (tmp_path / 'list.txt').write_text(f'{path.name}\n')
    logged = []
    monkeypatch.setattr('semidff.datasets.video_list.log_warning', logged.append)
    try:
        load_videos(tmp_path / 'list.txt')
    except VideoListError as error:  # decord reads no raw streams
        assert suffix in ('m2v', 'h264') and path.name in str(error)
    else:
        assert any('the size of the frames changes' in text for text in logged)


@pytest.mark.parametrize('seed', range(60))
def test_a_damaged_image_is_an_error_or_an_image(tmp_path, seed):
    random = np.random.default_rng(seed)
    suffix = ('.png', '.jpg', '.bmp', '.webp', '.tif')[seed % 5]
    data = bytearray(cv2.imencode(suffix, media.noise(seed))[1].tobytes())
    if seed % 2:
        data = data[: random.integers(len(data))]
    else:
        for at in random.integers(0, len(data), 5):
            data[at] = random.integers(256)
    path = tmp_path / f'a{suffix}'
    path.write_bytes(data)
    with limits():
        try:
            image = read_image(str(path))
        except VideoError as error:
            assert str(path) in str(error)
        else:
            assert image.dtype == np.uint8 and image.ndim == 3


@pytest.mark.parametrize(
    'read_file', [read_image, lambda path: list(open_stream(Path(path).parent))]
)
def test_headers_are_read_before_pixels(tmp_path, read_file):
    (tmp_path / 'huge.png').write_bytes(huge_png())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (
        pytest.raises(VideoError, match='has 900000000 pixels|none of its 1 images'),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter('ignore')
        read_file(str(tmp_path / 'huge.png'))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


READERS = {
    'stream': open_stream, 'video': open_video, 'image': read_image, 'list': load_videos,
    'json': load_vid_json, 'detections': lambda path: read_detections(path, 2),
    'checkpoint': read_checkpoint,
}  # fmt: skip
ERRORS = (VideoError, ValueError, OSError, CheckpointError)


@pytest.mark.parametrize(
    'name', ['pipe', 'pipe.mp4', 'pipe.jpg', 'folder.mp4', 'gone', 'empty', 'loop']
)
@pytest.mark.parametrize('reader', READERS)
def test_what_is_no_file_is_an_error(tmp_path, reader, name):
    path = tmp_path / name
    if name.startswith('pipe'):
        os.mkfifo(path)
    elif name.startswith('folder'):
        path.mkdir()
    elif name == 'empty':
        path.touch()
    elif name == 'loop':
        path.symlink_to(path)
    if (reader, name) == ('detections', 'empty'):
        assert len(READERS[reader](str(path))) == 0
        return
    with limits(), pytest.raises(ERRORS) as error:
        READERS[reader](str(path))
    assert str(error.value)
