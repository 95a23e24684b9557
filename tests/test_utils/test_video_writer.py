"""Writing of mp4 files."""

import resource

import cv2
import numpy as np
import pytest

from semidff.utils.video_writer import VideoWriter, count_packets

GRAY = np.full((80, 120, 3), 90, np.uint8)


def test_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / 'folder' / 'out.mp4'
    with VideoWriter(path, fps=10) as writer:
        for _ in range(7):
            writer.write(GRAY)
        assert not path.exists()
    assert count_packets(path) == 7
    assert [p.name for p in path.parent.iterdir()] == ['out.mp4']


def test_odd_sides_are_made_even_by_repeating(tmp_path):
    odd = np.full((47, 63, 3), 90, np.uint8)
    odd[-1], odd[:, -1] = 250, 250
    with VideoWriter(tmp_path / 'out.mp4') as writer:
        writer.write(odd)
    frame = cv2.VideoCapture(str(tmp_path / 'out.mp4')).read()[1]
    assert frame.shape == (48, 64, 3)
    assert frame[-1].min() > 180 and frame[:, -1].min() > 180 and frame[:40, :56].max() < 130


@pytest.mark.parametrize('fps', [0.5, 24000 / 1001, 59.94006, 987.654])
def test_any_frame_rate_is_kept(tmp_path, fps):
    with VideoWriter(tmp_path / 'out.mp4', fps) as writer:
        for _ in range(3):
            writer.write(GRAY)
    kept = cv2.VideoCapture(str(tmp_path / 'out.mp4')).get(cv2.CAP_PROP_FPS)
    assert kept == pytest.approx(fps, rel=1e-4)


def test_errors_leave_nothing(tmp_path):
    with pytest.raises(KeyError), VideoWriter(tmp_path / 'out.mp4') as writer:
        writer.write(GRAY)
        raise KeyError
    assert not list(tmp_path.iterdir())
    for fps in (90_000, float('nan')):
        with pytest.raises(ValueError, match='fps is'):
            VideoWriter(tmp_path / 'out.mp4', fps)


def test_a_full_disk_is_reported(tmp_path):
    """OpenCV writes on and reports nothing when a write fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    generator = np.random.default_rng(0)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))
        with (
            pytest.raises(OSError, match=r'out\.mp4: only \d+ of 30 frames could be written'),
            VideoWriter(tmp_path / 'out.mp4') as writer,
        ):
            for _ in range(30):
                writer.write(generator.integers(0, 255, GRAY.shape, np.uint8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())
