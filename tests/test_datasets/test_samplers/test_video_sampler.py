"""Videos shared among processes."""

import pytest

from semidff.datasets.samplers import video_sampler
from semidff.datasets.samplers.video_sampler import VideoSampler, share_videos


class Frames:
    """A flat dataset; ``order`` holds (video, frame) of each item."""

    def __init__(self, order):
        self.order = order

    def __len__(self):
        return len(self.order)

    def get_data_info(self, index):
        return dict(zip(('video_id', 'frame_id'), self.order[index], strict=True))


def sampler(monkeypatch, order, rank=0, world_size=1):
    monkeypatch.setattr(video_sampler, 'get_dist_info', lambda: (rank, world_size))
    return VideoSampler(Frames(order), seed=3)


LENGTHS = (3, 9, 1, 4, 2)
ORDER = [(video, frame) for video, length in enumerate(LENGTHS) for frame in range(length)]


def test_one_process_gets_everything_in_order(monkeypatch):
    found = sampler(monkeypatch, ORDER)
    assert list(found) == list(range(19)) and len(found) == 19


def test_frames_are_sorted_within_videos(monkeypatch):
    found = list(sampler(monkeypatch, [('b', 1), ('a', 0), ('b', 0), ('a', 2), ('a', 1)]))
    assert found == [2, 0, 1, 4, 3]


def test_every_frame_once_and_balanced(monkeypatch):
    shares = [list(sampler(monkeypatch, ORDER, rank, 2)) for rank in range(2)]
    assert [len(share) for share in shares] == [10, 9]
    assert sorted(shares[0] + shares[1]) == list(range(19))
    videos = [[ORDER[index][0] for index in share] for share in shares]
    assert videos == [[1] * 9 + [2], [0] * 3 + [3] * 4 + [4] * 2]


def test_longest_first_by_hand():
    videos = [[0] * 5, [1] * 8, [2] * 4, [3] * 3]
    assert share_videos(videos, 2) == [[1] * 8 + [3] * 3, [0] * 5 + [2] * 4]


def test_more_processes_than_videos(monkeypatch):
    shares = [list(sampler(monkeypatch, ORDER[:12], rank, 4)) for rank in range(4)]
    assert sorted(len(share) for share in shares) == [0, 0, 3, 9]


def test_images_without_videos_are_refused():
    class Images(Frames):
        def get_data_info(self, index):
            return dict(img_id=index)

    with pytest.raises(ValueError, match="no 'video_id'"):
        VideoSampler(Images(ORDER))
