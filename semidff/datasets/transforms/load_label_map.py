"""Label maps of semantic segmentation."""

from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from PIL import Image

IGNORED = 255
"""Label of pixels that neither training nor evaluation counts."""


@TRANSFORMS.register_module()
class LoadLabelMap(BaseTransform):
    """Read a frame's label map, a png with the class index of each pixel; 255 is ignored.

    Frames with ``is_labeled=False``, such as key frames of training pairs, have a map of 255 only.

    Required keys: ``seg_map_path``, ``ori_shape``; ``num_classes`` if present limits the class indices.
    """

    def transform(self, results: dict) -> dict:
        """Add ``gt_seg_map`` (H, W) uint8.

        Raises:
            FileNotFoundError: If the png does not exist.
            ValueError: If it is not of the frame's size, has colors, or an index that is no class.
        """
        size = tuple(results['ori_shape'][:2])
        labeled = results.get('is_labeled', True)
        results['gt_seg_map'] = (
            self._read(results, size) if labeled else np.full(size, IGNORED, np.uint8)
        )
        results['seg_fields'] = [*results.get('seg_fields', ()), 'gt_seg_map']
        return results

    def _read(self, results: dict, size: tuple[int, int]) -> np.ndarray:
        path = results.get('seg_map_path')
        if path is None:
            raise ValueError(
                f'{results.get("img_path")}: the data set has no folder of label maps; set data_prefix=dict(seg=...)'
            )
        if not Path(path).is_file():
            raise FileNotFoundError(f'{path}: the label map of a labeled frame does not exist')
        labels = np.array(Image.open(path))
        if labels.ndim != 2:
            raise ValueError(f'{path}: has colors; a label map has one class index per pixel')
        if labels.shape != size:
            raise ValueError(
                f'{path}: has {labels.shape[1]}x{labels.shape[0]} pixels, but its frame {size[1]}x{size[0]}'
            )
        if labels.max(initial=0) > IGNORED:
            raise ValueError(
                f'{path}: has the label {labels.max()}; label maps have classes up to 254'
            )
        count = results.get('num_classes')
        if count and (wrong := set(np.unique(labels).tolist()) - {*range(count), IGNORED}):
            raise ValueError(
                f'{path}: has the label {min(wrong)}, but the classes are numbered 0 to {count - 1} and 255 is ignored'
            )
        return labels.astype(np.uint8)
