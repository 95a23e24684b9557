"""Assignment of anchors by the original's rules."""

import torch
from mmdet.models.task_modules.assigners import AssignResult, MaxIoUAssigner
from mmdet.registry import TASK_UTILS
from torch import Tensor


@TASK_UTILS.register_module()
class OriginalAnchorAssigner(MaxIoUAssigner):
    """mmdet's assigner, except for anchors with the largest overlap with a box that is below ``pos_iou_thr``.

    Such an anchor is assigned the box that overlaps *it* most, not the box whose best anchor it is. There is no least
    overlap: for a box that touches no anchor, the largest overlap is 0, so every anchor that does not touch it is
    foreground, as in the original (the sampler then keeps few of them). ``min_pos_iou`` and ``gt_max_assign_all``
    have no effect.
    """

    def assign_wrt_overlaps(self, overlaps: Tensor, gt_labels: Tensor) -> AssignResult:
        """Assign anchors to boxes.

        Args:
            overlaps: Overlaps of the true boxes with the anchors, (G, A).
            gt_labels: Labels of the true boxes, (G,).

        Returns:
            ``gt_inds`` (A,): one more than the index of the anchor's box, 0 for background, -1 to ignore the anchor.
        """
        if not overlaps.numel():
            return super().assign_wrt_overlaps(overlaps, gt_labels)
        largest, box = overlaps.max(dim=0)
        best = (overlaps == overlaps.max(dim=1, keepdim=True).values).any(dim=0)
        foreground = best | (largest >= self.pos_iou_thr)
        assigned = torch.full_like(box, -1)
        assigned[largest < self.neg_iou_thr] = 0
        assigned[foreground] = box[foreground] + 1
        labels = torch.where(foreground, gt_labels[box], -1)
        return AssignResult(len(overlaps), assigned, largest, labels=labels)
