"""Short clips of unlabeled videos."""

from collections.abc import Iterable, Iterator

import numpy as np
from mmengine.config import Config

from semidff.datasets.video_list import VideoInfo, VideoListError, load_videos
from semidff.datasets.video_readers import VideoError, open_video


def read_clips(videos: Iterable[VideoInfo], length: int) -> Iterator[list[np.ndarray]]:
    """Yield the ``length`` frames (H, W, 3), uint8, BGR, in the middle of each video, fewer where it is shorter.

    Videos that cannot be decoded are skipped.
    """
    for video in videos:
        start = max(0, (video.length - length) // 2)
        try:
            reader = open_video(video.path)
            images = reader.frames(range(start, min(start + length, video.length)))
            reader.close()
        except VideoError:
            continue
        yield images


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
