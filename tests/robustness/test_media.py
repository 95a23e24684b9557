"""Videos and images that are cut or damaged: an error or a warning with the name, never silence."""

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

from semidff.datasets.video_list import VideoListError, load_videos
from semidff.datasets.video_readers import VideoError, VideoWarning, open_stream, read_image
from tests.encoded_video import encode
from tests.robustness.verdict import limits

STATED = {'mp4': 'h264 closed', 'mkv': 'h265', 'webm': 'vp9', 'avi': 'mjpeg', 'flv': 'h264 no b'}
"""Containers that state the length of the video, with codecs."""
OTHERS = {'ts': 'mpeg2', 'mpg': 'mpeg2'}
LENGTH = 30


@pytest.fixture(scope='session')
def whole(tmp_path_factory):
    """Whole videos, by their kind."""
    folder = tmp_path_factory.mktemp('whole')
    kinds = {**STATED, **OTHERS}
    return {kind: encode(folder / f'v.{kind}', kinds[kind], LENGTH) for kind in kinds}


def read(path: Path) -> tuple[int, list[str]]:
    """Read a video; the number of its frames, and the warnings, of which each names the file."""
    with limits(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        frames = sum(1 for _ in open_stream(path))
    told = [str(one.message) for one in caught if issubclass(one.category, VideoWarning)]
    assert all(str(path) in text for text in told)
    return frames, told


@pytest.mark.parametrize('share', (0, 0.02, 0.25, 0.55, 0.85, 0.97))
@pytest.mark.parametrize('kind', STATED)
def test_a_cut_video_is_never_silent(whole, tmp_path, log, kind, share):
    path = tmp_path / f'cut.{kind}'
    data = whole[kind].read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    try:
        frames, told = read(path)
    except VideoError as error:
        assert str(path) in str(error)
    else:
        # the last packets may be B-frames, which are shown before the frame that precedes them
        assert frames >= LENGTH - 4 or told, f'{frames} frames of {LENGTH} and no warning'
    try:
        (video,) = load_videos(tmp_path / f'*.{kind}')
    except VideoListError as error:
        assert f'cut.{kind}' in str(error)
    else:
        assert video.length >= LENGTH - 4 or 'videos are damaged' in log.text


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('kind', [*STATED, *OTHERS])
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
        assert frames <= 2 * LENGTH


@pytest.mark.parametrize('seed', range(20))
def test_a_damaged_image_is_an_error_or_an_image(tmp_path, seed):
    random = np.random.default_rng(seed)
    suffix = ('.png', '.jpg', '.bmp', '.webp', '.tif')[seed % 5]
    image = random.integers(0, 255, (40, 60, 3), dtype=np.uint8)
    data = bytearray(cv2.imencode(suffix, image)[1].tobytes())
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
