"""Datasets to pre-train a backbone as a classifier, and a flow network on pairs with true flow."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmengine.dataset import BaseDataset

from .transforms.flow_transforms import LoadFlowPair, PackFlowPair


@DATASETS.register_module()
class CropsDataset(BaseDataset):
    """Labeled crops of an .npz file.

    The file holds ``images``, (N, H, W, 3) uint8 BGR, ``labels``, (N,), and ``classes`` (names). An item has
    ``inputs``, a (3, H, W) uint8 tensor, and ``data_samples`` with ``gt_label``, int64 of shape (1,). ``indices`` of
    ``BaseDataset`` splits the crops: ``indices=5400`` is the first 5400, ``indices=-600`` the last 600. ``flip``
    mirrors crops at random along both axes; it draws from numpy's global random state.
    """

    METAINFO = {'dataset_type': 'crops'}

    def __init__(self, ann_file: str = 'crops.npz', flip: bool = False, **kwargs) -> None:
        self.flip = flip
        super().__init__(ann_file=ann_file, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the file. Its pictures stay in one array, which forked workers share."""
        with np.load(self.ann_file) as file:
            self.images, labels, classes = (file[key] for key in ('images', 'labels', 'classes'))
        self._metainfo['classes'] = tuple(map(str, classes))
        return [{'crop': i, 'gt_label': label} for i, label in enumerate(labels.tolist())]

    def prepare_data(self, idx: int) -> dict:
        info = self.get_data_info(idx)
        image = self.images[info['crop']]
        if self.flip:
            image = image[:, :: np.random.choice((1, -1))][:: np.random.choice((1, -1))]
        size = image.shape[:2]
        meta = dict(img_id=info['crop'], ori_shape=size, img_shape=size, scale_factor=(1.0, 1.0))
        sample = DetDataSample(metainfo=meta)
        sample.gt_label = torch.tensor([info['gt_label']])
        inputs = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return self.pipeline({'inputs': inputs, 'data_samples': sample})


@DATASETS.register_module()
class FlyingChairsDataset(BaseDataset):
    """Flying Chairs, or other pairs in its format.

    The flow of Flying Chairs is defined on the pixels of picture 1 and points to picture 2, feature flow (DFF Eq. 1) on
    the current frame and to the key frame: picture 1 is the current frame and picture 2 the key frame.

    A folder holds ``NNNNN_img1.ppm``, ``NNNNN_img2.ppm`` and ``NNNNN_flow.flo``, numbered from 00001. Line n of the
    split file assigns pair n to training (1) or validation (2).

    Args:
        ann_file: Split file, relative to ``data_root``.
        pipeline: Transforms of :mod:`~semidff.datasets.transforms.flow_transforms`; default: read and pack the pairs.
        **kwargs: Of mmengine's ``BaseDataset``; ``data_prefix=dict(img=...)`` is the folder of the pairs.
    """

    METAINFO = {'dataset_type': 'flying_chairs'}

    def __init__(
        self,
        ann_file: str = 'FlyingChairs_train_val.txt',
        split: str = 'train',
        pipeline: Sequence[dict | Callable] | None = None,
        **kwargs,
    ) -> None:
        self.wanted = {'train': '1', 'val': '2'}[split]
        if pipeline is None:
            pipeline = [LoadFlowPair(), PackFlowPair()]
        kwargs.setdefault('data_prefix', {'img': 'data'})
        super().__init__(ann_file=ann_file, pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Return ``dict(img_path=[key, current], flow_path)`` of each pair of the split."""
        lines = Path(self.ann_file).read_text().split()
        folder = Path(self.data_prefix['img'])
        numbers = (number for number, line in enumerate(lines, 1) if line == self.wanted)
        stems = (str(folder / f'{number:05d}') for number in numbers)
        return [
            dict(img_path=[f'{stem}_img2.ppm', f'{stem}_img1.ppm'], flow_path=f'{stem}_flow.flo')
            for stem in stems
        ]
