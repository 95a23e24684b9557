"""Dataset of small labeled pictures, to pre-train a backbone as a classifier."""

import numpy as np
import torch
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmengine.dataset import BaseDataset


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
