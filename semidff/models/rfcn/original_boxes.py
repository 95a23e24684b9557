"""Anchors, overlaps and deltas with the original's arithmetic; sampling with its random numbers."""

from collections.abc import Sequence

import numpy as np
import torch
from mmdet.models.task_modules.assigners import AssignResult, BboxOverlaps2D_GLIP, MaxIoUAssigner
from mmdet.models.task_modules.coders import LegacyDeltaXYWHBBoxCoder
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmdet.models.task_modules.samplers import RandomSampler
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor


@TASK_UTILS.register_module()
class OriginalAnchorGenerator(AnchorGenerator):
    """Anchors whose sides are rounded to pixels *before* they are scaled, by first and last pixel.

    With stride 16, scales (8, 16, 32) and ratios (0.5, 1, 2), the first of the nine anchors is
    (-84, -40, 99, 55), or 184 x 96 pixels; with mmdet's generators, including
    ``LegacyAnchorGenerator``, it has 181 x 91 pixels. The order is mmdet's, ratio before scale.
    ``centers`` and ``center_offset`` have no effect, since the center is always that of the cell's
    pixels (7.5 for 16 pixels).
    """

    def gen_single_level_base_anchors(
        self, base_size: float, scales: Tensor, ratios: Tensor, center: object = None
    ) -> Tensor:
        """Return the first cell's anchors (R * S, 4) for ratios (R,) and scales (S,)."""
        ratios = ratios.double()[:, None]
        width = _round((base_size**2 / ratios).floor().sqrt())
        height = _round(width * ratios)
        half = torch.stack((width, height), dim=-1) * scales.double()[:, None] / 2 - 0.5
        middle = (base_size - 1) / 2
        return torch.cat((middle - half, middle + half), dim=-1).flatten(0, 1).float()


def _round(x: Tensor) -> Tensor:
    """Round half up; torch.round rounds half to even."""
    return (x + 0.5).floor()


@TASK_UTILS.register_module()
class OriginalOverlaps(BboxOverlaps2D_GLIP):
    """mmdet's "+1" overlaps in double precision, since the original compares them for equality."""

    def __call__(
        self, bboxes1: Tensor, bboxes2: Tensor, mode: str = 'iou', is_aligned: bool = False
    ) -> Tensor:
        """Return the overlaps (N, M), float64, of boxes (N, 4) and (M, 4), first and last pixel."""
        if mode != 'iou' or is_aligned:
            raise ValueError('OriginalOverlaps has no other mode: set ignore_iof_thr=-1')
        return super().__call__(bboxes1.double(), bboxes2.double())


@TASK_UTILS.register_module()
class OriginalAnchorAssigner(MaxIoUAssigner):
    """mmdet's assigner, except for best anchors of a box with overlaps below ``pos_iou_thr``.

    Such an anchor is assigned the box that overlaps *it* most, not the box whose best anchor it is.
    There is no least overlap: for a box that touches no anchor, the largest overlap is 0, so every
    anchor that does not touch it is foreground, as in the original (the sampler then keeps few of
    them). ``min_pos_iou`` and ``gt_max_assign_all`` have no effect.
    """

    def assign_wrt_overlaps(self, overlaps: Tensor, gt_labels: Tensor) -> AssignResult:
        """Assign A anchors to G boxes with labels (G,), given overlaps (G, A)."""
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


@TASK_UTILS.register_module()
class OriginalAnchorSampler(RandomSampler):
    """mmdet's random sampler with the original's random numbers: numpy draws what is left out.

    After ``np.random.seed(s)``, the sample is that of the original.
    """

    def _sample_pos(self, assign_result: AssignResult, num_expected: int, **kwargs) -> Tensor:
        return _without_surplus((assign_result.gt_inds > 0).nonzero()[:, 0], num_expected)

    def _sample_neg(self, assign_result: AssignResult, num_expected: int, **kwargs) -> Tensor:
        return _without_surplus((assign_result.gt_inds == 0).nonzero()[:, 0], num_expected)


def _without_surplus(candidates: Tensor, number: int) -> Tensor:
    surplus = len(candidates) - number
    if surplus <= 0:
        return candidates
    keep = torch.ones(len(candidates), dtype=torch.bool)
    keep[torch.from_numpy(np.random.choice(len(candidates), surplus, replace=False))] = False
    return candidates[keep.to(candidates.device)]


@TASK_UTILS.register_module()
class OriginalBoxCoder(LegacyDeltaXYWHBBoxCoder):
    """Box coder that encodes as mmdet's legacy coder and decodes with the exact inverse.

    The legacy coder decodes boxes that are half a pixel larger on each side and limits the change
    of size, unlike the original.
    """

    def decode(
        self,
        bboxes: Tensor,
        pred_bboxes: Tensor,
        max_shape: Sequence[int] | None = None,
        wh_ratio_clip: float | None = None,
    ) -> Tensor:
        """Apply normalized deltas (N, 4 * groups) to boxes (N, 4), clipped to ``max_shape``."""
        bboxes = get_box_tensor(bboxes)[:, None]
        deltas = pred_bboxes.unflatten(-1, (-1, 4))
        deltas = deltas * deltas.new_tensor(self.stds) + deltas.new_tensor(self.means)
        size = bboxes[..., 2:] - bboxes[..., :2] + 1
        center = deltas[..., :2] * size + (bboxes[..., :2] + 0.5 * (size - 1))
        half = 0.5 * (deltas[..., 2:].exp() * size - 1)
        decoded = torch.cat((center - half, center + half), dim=-1)
        if max_shape is not None:
            height, width = max_shape[:2]
            last = decoded.new_tensor([width - 1, height - 1] * 2)
            decoded = decoded.clamp(min=0).minimum(last)
        return decoded.flatten(-2)
