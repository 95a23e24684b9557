"""Data set of pairs with true flow, to pre-train a flow network."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset

from .transforms.flow_transforms import LoadFlowPair, PackFlowPair


@DATASETS.register_module()
class FlyingChairsDataset(BaseDataset):
    """Flying Chairs, or other pairs in its format.

    The flow of Flying Chairs is defined on the pixels of picture 1 and points to picture 2, feature
    flow (DFF Eq. 1) on the current frame and to the key frame: picture 1 is the current frame and
    picture 2 the key frame.

    A folder holds ``NNNNN_img1.ppm``, ``NNNNN_img2.ppm`` and ``NNNNN_flow.flo``, numbered from
    00001. Line n of the split file assigns pair n to training (1) or validation (2).

    Args:
        ann_file: Split file, relative to ``data_root``.
        pipeline: Transforms of :mod:`~semidff.datasets.transforms.flow_transforms`; default: read
        and pack the pairs. **kwargs: Of mmengine's ``BaseDataset``; ``data_prefix=dict(img=...)``
        is the folder of the pairs.
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
