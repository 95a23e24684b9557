"""Pairs of pictures with true flow, in the format of Flying Chairs: to pre-train the flow network.

The flow of Flying Chairs leads from picture 1 to picture 2 and stands on picture 1's pixels.
Feature flow (DFF Eq. 1) leads from the current frame to the key frame and stands on the current
frame's. So picture 1 is the current frame here, and picture 2 the key frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset

from .transforms.flow_transforms import LoadFlowPair, PackFlowPair

_SPLITS = {'train': 1, 'val': 2}


@DATASETS.register_module()
class FlyingChairsDataset(BaseDataset):
    """Flying Chairs, or other pairs in its format.

    A folder holds `NNNNN_img1.ppm`, `NNNNN_img2.ppm` and `NNNNN_flow.flo`, numbered from 00001;
    line n of the split file says whether pair n is for training (1) or validation (2).

    Args:
        ann_file: Split file, relative to `data_root`.
        split: 'train' or 'val'.
        pipeline: Transforms of :mod:`~semidff.datasets.transforms.flow_transforms` and
            :mod:`~semidff.datasets.transforms.flow_geometry`; by default pairs are read and packed only, see
            :class:`~semidff.datasets.transforms.flow_transforms.PackFlowPair`.
        **kwargs: Other arguments of mmengine's `BaseDataset`; `data_prefix=dict(img=...)` names the
            folder of the pairs.

    Raises:
        FileNotFoundError: If the split file or a file of a pair is missing.
        ValueError: If the split file has other lines than 1 and 2, or not one per pair in the
            folder, or nothing is in the split.
    """

    METAINFO = {'dataset_type': 'flying_chairs'}

    def __init__(
        self,
        ann_file: str = 'FlyingChairs_train_val.txt',
        split: str = 'train',
        pipeline: Sequence[dict | Callable] | None = None,
        **kwargs,
    ) -> None:
        if split not in _SPLITS:
            raise ValueError(f'split={split!r} is not one of {tuple(_SPLITS)}')
        self.split = split
        if pipeline is None:
            pipeline = [LoadFlowPair(), PackFlowPair()]
        kwargs.setdefault('data_prefix', {'img': 'data'})
        super().__init__(ann_file=ann_file, pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Pairs of the split: `dict(img_path=[key frame's, current frame's], flow_path)`."""
        if not Path(self.ann_file).is_file():
            raise FileNotFoundError(
                f'{self.ann_file}: the split file (ann_file) of Flying Chairs is missing'
            )
        lines = Path(self.ann_file).read_text().split()
        wrong = next((line for line in lines if line not in ('1', '2')), None)
        if wrong is not None:
            raise ValueError(
                f'{self.ann_file}: {wrong!r} in it; lines must be 1 (training) or 2 (validation)'
            )
        folder = Path(self.data_prefix['img'])
        found = len(list(folder.glob('*_flow.flo')))
        if found != len(lines):
            raise ValueError(
                f'{self.ann_file} has {len(lines)} lines, but {folder} holds {found} *_flow.flo '
                'files: the split file belongs to other data, or the folder is incomplete'
            )
        wanted = str(_SPLITS[self.split])
        stems = [
            str(folder / f'{number:05d}') for number, line in enumerate(lines, 1) if line == wanted
        ]
        if not stems:
            raise ValueError(
                f'{self.ann_file}: no line {wanted}, so the split {self.split!r} is empty'
            )
        return [
            dict(
                img_path=[f'{stem}_img2.ppm', f'{stem}_img1.ppm'],
                flow_path=f'{stem}_flow.flo',
            )
            for stem in stems
        ]
