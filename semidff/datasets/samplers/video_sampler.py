"""Sampler of whole videos."""

from collections.abc import Iterator, Sized

from mmdet.registry import DATA_SAMPLERS
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

# mmdet's TrackImgSampler requires a BaseVideoDataset, yields (video, frame) tuples that only such a
# dataset accepts, refuses fewer videos than processes, and balances the number of videos, not of
# frames.


@DATA_SAMPLERS.register_module()
class VideoSampler(Sampler):
    """Distribute whole videos over the processes; each process iterates over their frames in order.

    Videos are assigned in order of decreasing length, each to the process with the fewest frames so
    far. The assignment is deterministic, so the processes need not communicate. A process may
    receive no video.

    Args:
        dataset: Dataset of frames whose ``get_data_info(i)`` has ``video_id`` and, if the frames
            are not in order, ``frame_id``.
        seed: Ignored; data loaders pass it to every sampler.

    Raises:
        ValueError: If a frame has no ``video_id``.
    """

    def __init__(self, dataset: Sized, seed: int | None = None) -> None:
        rank, world_size = get_dist_info()
        self.indices = share_videos(frames_of_videos(dataset), world_size)[rank]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


def share_videos(videos: list[list[int]], shares: int) -> list[list[int]]:
    """Divide videos, given by their frame indices, among processes, longest first.

    Each of the ``shares`` lists holds the frame indices of one process; its videos keep the given order.
    """
    chosen: list[list[int]] = [[] for _ in range(shares)]
    frames = [0] * shares
    for video in sorted(range(len(videos)), key=lambda index: (-len(videos[index]), index)):
        least = min(range(shares), key=lambda share: frames[share])
        chosen[least].append(video)
        frames[least] += len(videos[video])
    return [[frame for video in sorted(share) for frame in videos[video]] for share in chosen]


def frames_of_videos(dataset: Sized) -> list[list[int]]:
    """Return the frame indices of each video of a dataset, in order of ``frame_id``."""
    videos: dict[int, list[tuple[int, int]]] = {}
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        if 'video_id' not in info:
            raise ValueError(
                f"item {index} of {type(dataset).__name__} has no 'video_id'; give a "
                'dataset of videos such as CocoVIDDataset'
            )
        videos.setdefault(info['video_id'], []).append((info.get('frame_id', index), index))
    return [[index for _, index in sorted(frames)] for frames in videos.values()]
