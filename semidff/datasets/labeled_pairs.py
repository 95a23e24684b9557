"""Training pairs with a labeled current frame, for supervised training (DFF section 3)."""

import random

import numpy as np
from mmdet.registry import DATASETS, TASK_UTILS
from mmengine.dataset import Compose
from torch.utils.data import Dataset

from .coco_vid import CocoVIDDataset
from .video_readers.frame_folder import naming_images


@DATASETS.register_module()
class LabeledPairDataset(Dataset):
    """Pairs of a labeled current frame and an earlier key frame of its video.

    The key frame precedes the current frame by a random interval; near the start of a video it is
    the first frame, as in the original. It needs no labels, so sparsely labeled videos are fully
    used. A still image, and the first frame of a video, is its own key frame and trains the
    detector on single frames.

    Every value of the pipeline's results dict is a list of two, ``[key, current]``. Wrap mmdet's
    transforms in ``TransformBroadcaster(share_random_params=True)`` and end with ``PackFramePair``.

    Args:
        dataset: A :class:`~semidff.datasets.CocoVIDDataset` or its config, in training mode; its
            own pipeline is not used.
        interval: Config of the interval's distribution, ``UniformInterval``; DFF: 0 to 9.
    """

    def __init__(self, dataset: dict | CocoVIDDataset, interval: dict, pipeline: list) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.interval = TASK_UTILS.build(interval)
        self.pipeline = Compose(pipeline)
        self.dataset.full_init()

    def full_init(self) -> None:
        """Do nothing; mmengine's ``ConcatDataset`` calls it."""

    @property
    def metainfo(self) -> dict:
        return self.dataset.metainfo

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict | None:
        """Return the pair of labeled frame ``index``; Python's random state gives the interval."""
        current = self.dataset.get_data_info(index)
        distance = self.interval.draw(np.random.default_rng(random.getrandbits(64)))
        frame_id = max(current['frame_id'] - distance, 0)
        key = {**current, 'instances': [], 'frame_id': frame_id}
        if frame_id != current['frame_id']:
            key.update(img_path=self._path(current, frame_id), is_labeled=False)
        with naming_images([key['img_path'], current['img_path']]):
            return self.pipeline({name: [key[name], current[name]] for name in current})

    def _path(self, current: dict, frame_id: int) -> str:
        path = self.dataset.frame_path(current['video_id'], frame_id)
        if path is None:
            raise ValueError(
                f'{self.dataset.ann_file}: frame {frame_id} of video {current["video_name"]!r} is '
                'a key frame, but not listed; list all frames (with is_labeled: false if they have '
                'no annotation) or give the video a frame_pattern'
            )
        return path
