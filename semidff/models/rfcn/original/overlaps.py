"""Intersection over union in the "+1" convention."""

from mmdet.models.task_modules.assigners import BboxOverlaps2D_GLIP
from mmdet.registry import TASK_UTILS
from torch import Tensor


@TASK_UTILS.register_module()
class OriginalOverlaps(BboxOverlaps2D_GLIP):
    """mmdet's "+1" overlaps in double precision, since the original compares them for equality."""

    def __call__(
        self, bboxes1: Tensor, bboxes2: Tensor, mode: str = 'iou', is_aligned: bool = False
    ) -> Tensor:
        """Return the overlaps (N, M), float64, of boxes (N, 4) and (M, 4), first and last pixel.

        Raises:
            ValueError: If ``mode`` is not ``iou``, or ``is_aligned`` is set.
        """
        if mode != 'iou' or is_aligned:
            raise ValueError(
                f'OriginalOverlaps computes the intersection over union of all pairs only, got mode={mode!r}, '
                f'is_aligned={is_aligned}; set ignore_iof_thr=-1 in the assigner'
            )
        return super().__call__(bboxes1.double(), bboxes2.double())
