"""Videos and images that are cut or damaged: an error or a warning with the name, never silence."""

import warnings
from pathlib import Path

import pytest

from semidff.datasets.video_list import VideoListError, load_videos
from semidff.datasets.video_readers import VideoError, VideoWarning, open_any
from tests.encoded_video import encode

FASTSTART = 'faststart.mp4'
STATED = {
    'mp4': 'h264 closed',
    FASTSTART: 'h264 closed',
    'mkv': 'h265',
    'webm': 'vp9',
    'avi': 'mjpeg',
    'flv': 'h264 no b',
}
"""Containers that state the length of the video, with codecs."""
LENGTH = 30


@pytest.fixture(scope='session')
def whole(tmp_path_factory):
    """Whole videos, by their kind."""
    folder = tmp_path_factory.mktemp('whole')
    return {
        kind: encode(folder / f'v.{kind}', codec, LENGTH, faststart=kind == FASTSTART)
        for kind, codec in STATED.items()
    }


def read(path: Path) -> tuple[int, list[str]]:
    """Read a video; the number of its frames, and the warnings, of which each names the file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        frames = sum(1 for _ in open_any(path))
    told = [str(one.message) for one in caught if issubclass(one.category, VideoWarning)]
    assert all(str(path) in text for text in told)
    return frames, told


@pytest.mark.parametrize('share', (0, 0.25, 0.85))
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
        assert frames or kind != FASTSTART
        if told:
            with pytest.raises(VideoError, match='its end is missing|damaged'):
                list(open_any(path, strict=True))
    try:
        (video,) = load_videos(tmp_path / f'*.{kind}')
    except VideoListError as error:
        assert f'cut.{kind}' in str(error)
    else:
        assert video.length >= LENGTH - 4 or 'damaged' in log.text
