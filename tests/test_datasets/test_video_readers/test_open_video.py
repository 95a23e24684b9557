"""Random access to intact and damaged video files and frame folders; the pool of readers."""

import cv2
import numpy as np
import pytest

from semidff.datasets.video_readers import (
    FrameFolder,
    VideoError,
    natural_key,
    open_video,
)
from tests.damaged_video import picture, wipe, write_video


def write_folder(path, length=12, suffix='.png'):
    path.mkdir()
    for index in range(length):
        cv2.imwrite(str(path / f'{index}{suffix}'), picture(index))
    return path


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / 'video.mp4')


def test_random_access_equals_opencv_reading_from_the_start(video):
    capture = cv2.VideoCapture(str(video))
    expected = [capture.read()[1] for _ in range(30)]
    reader = open_video(video)
    for indices in ([3, 4, 20], [2], [28, 11, 12]):
        for index, frame in zip(indices, reader.frames(indices), strict=True):
            assert np.abs(frame.astype(int) - expected[index]).max() <= 2


def test_damage_in_the_middle_fails_there_and_leaves_the_rest_readable(tmp_path, video):
    damaged = wipe(tmp_path / 'damaged.mp4', video)
    reader = open_video(damaged)
    intact = reader.frames([0, 3])
    with pytest.raises(VideoError, match=r'damaged\.mp4: frame 29 cannot be decoded: damaged'):
        reader.frames([29])
    again = reader.frames([0, 3])
    assert all(np.array_equal(a, b) for a, b in zip(intact, again, strict=True))


def test_folder_in_natural_order(tmp_path):
    folder = write_folder(tmp_path / 'frames')
    (folder / '.hidden.png').write_bytes(b'x')
    (folder / 'notes.txt').write_text('x')
    reader = open_video(folder)
    assert isinstance(reader, FrameFolder) and len(reader) == 12
    frames = reader.frames([11, 2, 10])
    assert [int(frame[0, 0, 0]) // 8 for frame in frames] == [11, 2, 10]


def test_natural_key():
    names = ['a10', 'a9', 'b1', 'a', '10', '9', 'a9b2', 'a9b10']
    expected = ['9', '10', 'a', 'a9', 'a9b2', 'a9b10', 'a10', 'b1']
    assert sorted(names, key=natural_key) == expected


def test_corrupt_jpeg_names_the_file(tmp_path):
    folder = write_folder(tmp_path / 'frames', suffix='.jpg')
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / '3.jpg'), noise)
    data = (folder / '3.jpg').read_bytes()
    (folder / '3.jpg').write_bytes(data[: len(data) // 2])
    (folder / '4.jpg').write_bytes(b'')
    (folder / '5.jpg').write_bytes(b'\xff\xd8 nonsense \xff\xd9')
    reader = open_video(folder)
    assert len(reader.frames([0, 2, 6])) == 3
    for index, reason in ((3, 'truncated'), (4, 'corrupt'), (5, 'corrupt')):
        with pytest.raises(VideoError, match=reason) as caught:
            reader.frames([0, index])
        assert caught.value.path == str(folder / f'{index}.jpg')


def test_folder_with_two_sizes(tmp_path):
    folder = write_folder(tmp_path / 'frames')
    cv2.imwrite(str(folder / '3.png'), picture(3, (32, 32)))
    with pytest.raises(VideoError, match=r'3\.png: is 32x32, other frames are 64x48'):
        open_video(folder).frames([0, 3])
