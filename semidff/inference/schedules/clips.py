"""Short clips of unlabeled videos, preprocessed as for detection."""

from collections.abc import Iterator, Sequence

import numpy as np
from mmengine.config import Config
from torch import Tensor

from semidff.apis.video_inferencer import VideoInferencer
from semidff.datasets.video_list import VideoInfo, VideoListError, load_videos
from semidff.datasets.video_readers import Frame, VideoError, open_video


class Clip:
    """Consecutive frames of a video, preprocessed when they are asked for.

    Args:
        inferencer (VideoInferencer): Its pipeline is used.
        images (Sequence[ndarray]): (H, W, 3) uint8 BGR.
    """

    def __init__(self, inferencer: VideoInferencer, images: Sequence[np.ndarray]) -> None:
        self._inferencer = inferencer
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Tensor:
        """Frame ``index`` as the network takes it, (1, 3, H, W)."""
        batch = self._inferencer.preprocess(Frame(self._images[index], index, 0.0))
        return self._inferencer.model.data_preprocessor(batch, False)['inputs']


class Clips:
    """A clip of each of some videos, the same ones each time they are walked.

    Args:
        inferencer (VideoInferencer): With method *propagate*.
        videos (Sequence[VideoInfo]): What to choose from.
        count (int): Number of clips, spread evenly over the videos; all videos if there are fewer.
        length (int): Their frames; fewer where a video is shorter.

    Raises:
        ValueError: If count or length leave no pair of frames.
    """

    def __init__(
        self,
        inferencer: VideoInferencer,
        videos: Sequence[VideoInfo],
        count: int = 60,
        length: int = 60,
    ) -> None:
        if count < 2 or length < 2:
            raise ValueError(f'{count} clips of {length} frames: at least 2 of both are needed')
        self._inferencer = inferencer
        chosen = np.linspace(0, len(videos) - 1, min(count, len(videos))).round().astype(int)
        self.videos = [videos[index] for index in chosen]
        self.length = length

    def __iter__(self) -> Iterator[Clip]:
        """Reads them, one at a time; from the middle of the videos. Damaged ones are left out."""
        for video in self.videos:
            start = max(0, (video.length - self.length) // 2)
            frames = range(start, min(start + self.length, video.length))
            try:
                reader = open_video(video.path)
                images = reader.frames(frames)
                reader.close()
            except VideoError:
                continue
            yield Clip(self._inferencer, images)


def unlabeled_videos(config: Config, video_list: str | None = None) -> list[VideoInfo]:
    """The videos that a schedule is fitted to.

    Args:
        config (Config): Of the video detector.
        video_list (str | None): A list of videos; None takes that of the config's training.

    Raises:
        VideoListError: There is no list, or nothing readable in it.
    """
    if video_list is not None:
        return load_videos(video_list)
    dataset = config.get('train_dataloader', {}).get('dataset', {})
    while 'dataset' in dataset:  # wrappers
        dataset = dataset['dataset']
    if dataset.get('type') != 'UnlabeledVideoDataset':
        raise VideoListError(
            f'{config.filename}: is not trained on unlabeled videos but on {dataset.get("type")}; give a list of '
            'videos (--videos)'
        )
    return load_videos(dataset.ann_file, dataset.get('data_prefix'))
