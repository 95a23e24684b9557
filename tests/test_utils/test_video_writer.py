"""Writing of mp4 files: what browsers play, with the times of the frames."""

import resource

import av
import cv2
import numpy as np
import pytest

from semidff.utils.video_writer import VideoWriter
from tests.encoded_video import packet_times

GRAY = np.full((80, 120, 3), 90, np.uint8)


def test_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / 'folder' / 'out.mp4'
    with VideoWriter(path, fps=10) as writer:
        for _ in range(7):
            writer.write(GRAY)
        assert not path.exists()
    assert packet_times(path) == pytest.approx(np.arange(7) / 10)
    assert [p.name for p in path.parent.iterdir()] == ['out.mp4']


def test_browsers_play_it(tmp_path):
    with VideoWriter(tmp_path / 'out.mp4', fps=10) as writer:
        writer.write(np.full((80, 120, 3), (40, 90, 200), np.uint8))
    with av.open(str(tmp_path / 'out.mp4')) as file:
        context = file.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ('h264', 'yuv420p')
        assert (context.colorspace, context.color_range) == (1, 1)  # BT.709, limited
        color = next(file.decode(video=0)).to_ndarray(format='bgr24').mean((0, 1))
    assert np.abs(color - (40, 90, 200)).max() < 4
    data = (tmp_path / 'out.mp4').read_bytes()
    assert data.find(b'moov') < data.find(b'mdat')


def test_odd_sides_are_made_even_by_repeating(tmp_path):
    odd = np.full((47, 63, 3), 90, np.uint8)
    odd[-1], odd[:, -1] = 250, 250
    with VideoWriter(tmp_path / 'out.mp4', fps=10) as writer:
        writer.write(odd)
    frame = cv2.VideoCapture(str(tmp_path / 'out.mp4')).read()[1]
    assert frame.shape == (48, 64, 3)
    assert frame[-1].min() > 180 and frame[:, -1].min() > 180 and frame[:40, :56].max() < 130


@pytest.mark.parametrize('fps', [0.5, 24000 / 1001, 59.94006, 987.654])
def test_any_frame_rate_is_kept(tmp_path, fps):
    with VideoWriter(tmp_path / 'out.mp4', fps) as writer:
        for _ in range(30):
            writer.write(GRAY)
    assert packet_times(tmp_path / 'out.mp4') == pytest.approx(np.arange(30) / fps, abs=1e-5)
    kept = cv2.VideoCapture(str(tmp_path / 'out.mp4')).get(cv2.CAP_PROP_FPS)
    assert kept == pytest.approx(fps, rel=1e-3)


def test_time_stamps_are_kept_and_increase(tmp_path):
    """A pause of an hour, and a clock that stands still and goes back."""
    times = [7, 7.03, 7.1, 3607.1, 3607.1, 3607, 3607.2]
    with VideoWriter(tmp_path / 'out.mp4') as writer:
        for time in times:
            writer.write(GRAY, time)
    found = packet_times(tmp_path / 'out.mp4')
    assert found == pytest.approx(np.array(times).clip(0, 3607.2) - 7, abs=0.11)
    assert found[:4] == pytest.approx([0, 0.03, 0.1, 3600.1], abs=1e-4)
    assert all(np.diff(found) > 0)


@pytest.mark.parametrize('every', [1, 7])
def test_longer_pauses_are_an_hour(tmp_path, every):
    """Of 8 hours, after each frame or now and then: FFmpeg writes none that is longer than 2^31
    ticks.
    """
    steps = np.where(np.arange(1, 20) % every, 0.1, 8 * 3600)
    with VideoWriter(tmp_path / 'out.mp4') as writer:
        for time in (0, *np.cumsum(steps)):
            writer.write(GRAY, time)
    expected = np.cumsum(steps.clip(0, 3600))
    assert packet_times(tmp_path / 'out.mp4')[1:] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize('limit', [40_000, 100])
def test_a_full_disk_is_reported(tmp_path, limit):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    generator = np.random.default_rng(0)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
        with (
            pytest.raises(OSError, match=r'out\.mp4: cannot be written \(File too large\)'),
            VideoWriter(tmp_path / 'out.mp4', fps=10) as writer,
        ):
            for _ in range(30):
                writer.write(generator.integers(0, 255, GRAY.shape, np.uint8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())
