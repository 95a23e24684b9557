"""Short clips of unlabeled videos, preprocessed as for detection."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from mmengine.config import Config
from torch import Tensor

from semidff.datasets.video_list import VideoInfo, VideoListError, load_videos
from semidff.datasets.video_readers import VideoError, open_video


class Clip:
    """Consecutive frames of a video, preprocessed on access.

    Args:
        images: Frames (H, W, 3), uint8, BGR.
        preprocess: Maps a frame to the network's input (1, 3, H, W).
    """

    def __init__(
        self, images: Sequence[np.ndarray], preprocess: Callable[[np.ndarray], Tensor]
    ) -> None:
        self._images = images
        self._preprocess = preprocess

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Tensor:
        return self._preprocess(self._images[index])


class Clips:
    """A clip of each of some videos; every iteration yields the same ones.

    Args:
        videos: Videos to choose from.
        preprocess: As of :class:`Clip`.
        count: Number of clips, spread evenly over the videos; all videos if there are fewer.
        length: Frames of a clip; fewer where a video is shorter.

    Raises:
        ValueError: If ``count`` or ``length`` is less than 2.
    """

    def __init__(
        self,
        videos: Sequence[VideoInfo],
        preprocess: Callable[[np.ndarray], Tensor],
        count: int = 60,
        length: int = 60,
    ) -> None:
        if count < 2 or length < 2:
            raise ValueError(f'{count} clips of {length} frames: at least 2 of both are needed')
        self._preprocess = preprocess
        chosen = np.linspace(0, len(videos) - 1, min(count, len(videos))).round().astype(int)
        self.videos = [videos[index] for index in chosen]
        self.length = length

    def __iter__(self) -> Iterator[Clip]:
        """Read the middle of each video, one at a time; videos that cannot be decoded are skipped."""
        for video in self.videos:
            start = max(0, (video.length - self.length) // 2)
            frames = range(start, min(start + self.length, video.length))
            try:
                reader = open_video(video.path)
                images = reader.frames(frames)
                reader.close()
            except VideoError:
                continue
            yield Clip(images, self._preprocess)


def unlabeled_videos(config: Config, video_list: str | None = None) -> list[VideoInfo]:
    """Return the videos that an adaptive schedule is fitted to.

    Args:
        config: Config of the video detector.
        video_list: File that lists videos; None takes the list of the config's training.

    Raises:
        VideoListError: If there is no list, or none of its videos can be read.
    """
    if video_list is not None:
        return load_videos(video_list)
    dataset = config.get('train_dataloader', {}).get('dataset', {})
    while 'dataset' in dataset:  # wrappers
        dataset = dataset['dataset']
    if dataset.get('type') != 'UnlabeledVideoDataset':
        raise VideoListError(
            f'{config.filename} trains on {dataset.get("type")}, not on unlabeled videos; give a list of videos '
            '(--videos)'
        )
    return load_videos(dataset.ann_file, dataset.get('data_prefix'))
