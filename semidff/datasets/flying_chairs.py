"""Dataset of pairs with true flow, to pre-train the flow network.

The flow of Flying Chairs is defined on the pixels of picture 1 and points to picture 2. Feature
flow (DFF Eq. 1) is defined on the current frame and points to the key frame. Picture 1 is therefore
the current frame and picture 2 the key frame.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset

from .transforms.flow_transforms import LoadFlowPair, PackFlowPair

_SPLITS = {'train': 1, 'val': 2}


@DATASETS.register_module()
class FlyingChairsDataset(BaseDataset):
    """Flying Chairs, or other pairs in its format.

    A folder holds ``NNNNN_img1.ppm``, ``NNNNN_img2.ppm`` and ``NNNNN_flow.flo``, numbered from
    00001. Line n of the split file assigns pair n to training (1) or validation (2).

    Args:
        ann_file: Split file, relative to ``data_root``.
        split: 'train' or 'val'.
        pipeline: Transforms of :mod:`~semidff.datasets.transforms.flow_transforms` and
            :class:`~semidff.datasets.RandomAffineFlowPair`; default: read and pack the pairs, see
            :class:`~semidff.datasets.PackFlowPair`.
        **kwargs: Other arguments of mmengine's ``BaseDataset``; ``data_prefix=dict(img=...)`` is
            the folder of the pairs.

    Raises:
        FileNotFoundError: If the split file or a file of a pair is missing.
        ValueError: If the split file has lines other than 1 and 2, does not have one line per pair
            in the folder, or assigns no pair to the split.
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
        """Return ``dict(img_path=[key, current], flow_path)`` of each pair of the split."""
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
            dict(img_path=[f'{stem}_img2.ppm', f'{stem}_img1.ppm'], flow_path=f'{stem}_flow.flo')
            for stem in stems
        ]
