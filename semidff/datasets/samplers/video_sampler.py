"""Whole videos for each process, their frames in order."""

from collections.abc import Iterator, Sized

from mmdet.registry import DATA_SAMPLERS
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

# mmdet's TrackImgSampler is not used: it asks for a BaseVideoDataset, yields (video, frame) tuples
# that only such a dataset understands, refuses fewer videos than processes, and divides the videos
# by their number, not by their length.


@DATA_SAMPLERS.register_module()
class VideoSampler(Sampler):
    """Shares the videos among the processes; every frame is seen exactly once, and in order.

    The longest video goes first, always to the process with the fewest frames so far; this is
    deterministic, so all processes agree without talking to each other.  A process may get nothing.

    Args:
        dataset (Sized): A flat dataset of frames whose ``get_data_info(i)`` has ``video_id`` (and
            ``frame_id``, by which the frames of a video are sorted).
        seed (int | None): Not used; data loaders pass it to every sampler.

    Raises:
        ValueError: If the dataset's frames do not say which video they belong to.
    """

    def __init__(self, dataset: Sized, seed: int | None = None) -> None:
        rank, world_size = get_dist_info()
        shares = share_videos(frames_of_videos(dataset), world_size)
        self.indices = shares[rank]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    def set_epoch(self, epoch: int) -> None:
        """Without effect: the order is always the same."""


def share_videos(videos: list[list[int]], shares: int) -> list[list[int]]:
    """Divides videos among processes, longest first.

    Args:
        videos (list[list[int]]): Frame indices of each video.
        shares (int): Number of processes.

    Returns:
        list[list[int]]: Frame indices of each process, video after video in the given order.
    """
    chosen: list[list[int]] = [[] for _ in range(shares)]
    frames = [0] * shares
    for video in sorted(range(len(videos)), key=lambda index: (-len(videos[index]), index)):
        least = min(range(shares), key=lambda share: frames[share])
        chosen[least].append(video)
        frames[least] += len(videos[video])
    return [[frame for video in sorted(share) for frame in videos[video]] for share in chosen]


def frames_of_videos(dataset: Sized) -> list[list[int]]:
    """Indices of a flat data set's frames, a list in order of ``frame_id`` for each video.

    Raises:
        ValueError: If a frame has no ``video_id``.
    """
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
