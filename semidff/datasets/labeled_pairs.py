"""Training pairs with labels on the current frame, for supervised training (DFF section 3)."""

import random

import numpy as np
from mmdet.registry import DATASETS, TASK_UTILS
from mmengine.dataset import Compose
from torch.utils.data import Dataset

from .coco_vid import CocoVIDDataset


@DATASETS.register_module()
class LabeledPairDataset(Dataset):
    """Each labeled frame of a dataset as current frame, with an earlier frame of its video as key frame.

    The key frame lies a random interval before the current frame; where the video does not reach
    that far back it is the video's first frame, as in the original. It needs no labels, so sparsely
    labeled videos are used whole. A still image, or a current frame that begins its video, is its
    own key frame: such a pair trains the detector frame by frame.

    An item is ``pipeline(results)`` in which every value of ``results`` is a list of two, ``[key,
    current]``; wrap mmdet's transforms in ``TransformBroadcaster(share_random_params=True)`` and
    end with ``PackFramePair``.

    Args:
        dataset: A :class:`~semidff.datasets.coco_vid.CocoVIDDataset` or its config, in training
            mode; its own pipeline is not used.
        interval: Config of the intervals' distribution (``UniformInterval``, ...); DFF: 0 to 9.
        pipeline: Transforms of a pair.

    Raises:
        ValueError: The dataset cannot name other frames of its videos, or is not in training mode.
    """

    def __init__(
        self,
        dataset: dict | CocoVIDDataset,
        interval: dict,
        pipeline: list,
        lazy_init: bool = False,
    ) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        if not isinstance(self.dataset, CocoVIDDataset):
            raise ValueError(
                f'LabeledPairDataset needs a CocoVIDDataset (or ImageNetVIDDataset, '
                f'ImageNetDETDataset), got {type(self.dataset).__name__}'
            )
        if self.dataset.test_mode:
            raise ValueError(
                f'{self.dataset.ann_file}: pairs are for training; leave test_mode=True out'
            )
        self.interval = TASK_UTILS.build(interval)
        self.pipeline = Compose(pipeline)
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Loads the annotations."""
        if self._fully_initialized:
            return
        self.dataset.full_init()
        self._check_neighbors()
        self._fully_initialized = True

    @property
    def metainfo(self) -> dict:
        """Meta information of the dataset."""
        return self.dataset.metainfo

    def __len__(self) -> int:
        """Labeled frames."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict | None:
        """The pair of labeled frame ``index``, its interval drawn from Python's random state."""
        current = self.dataset.get_data_info(index)
        distance = self.interval.draw(np.random.default_rng(random.getrandbits(64)))
        key = self._key_frame(current, max(current['frame_id'] - distance, 0))
        return self.pipeline({name: [key[name], current[name]] for name in current})

    def _key_frame(self, current: dict, frame_id: int) -> dict:
        """A frame of the current frame's video, without labels."""
        key = {**current, 'instances': [], 'frame_id': frame_id}
        if frame_id != current['frame_id']:
            key['img_path'] = self._path(current, frame_id)
        return key

    def _path(self, current: dict, frame_id: int) -> str:
        path = self.dataset.frame_path(current['video_id'], frame_id)
        if path is None:
            raise ValueError(
                f'{self.dataset.ann_file}: frame {frame_id} of video {current["video_name"]!r} is '
                'wanted as key frame, but the json does not list it; list all frames (with '
                'is_labeled: false where they have no annotation) or give the video a '
                'frame_pattern'
            )
        return path

    def _check_neighbors(self) -> None:
        """A json without the frames between would otherwise fail hours later."""
        for index in range(len(self.dataset)):
            info = self.dataset.get_data_info(index)
            if info['frame_id'] > 0:
                self._path(info, info['frame_id'] - 1)
