"""Anchors with the original's rounding (that of Faster R-CNN, Ren et al. 2015)."""

import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmdet.registry import TASK_UTILS
from torch import Tensor


@TASK_UTILS.register_module()
class OriginalAnchorGenerator(AnchorGenerator):
    """Anchors whose sides are rounded to pixels *before* they are scaled, given by first and last pixel.

    With stride 16, scales (8, 16, 32) and ratios (0.5, 1, 2), the first of the nine anchors is (-84, -40, 99, 55), or
    184 x 96 pixels; with mmdet's generators, including ``LegacyAnchorGenerator``, it has 181 x 91 pixels. The order is
    mmdet's, ratio before scale. Arguments are those of mmdet's ``AnchorGenerator``; ``centers`` and ``center_offset``
    have no effect, since the center is always that of the cell's pixels (7.5 for 16 pixels).
    """

    def gen_single_level_base_anchors(
        self, base_size: float, scales: Tensor, ratios: Tensor, center: object = None
    ) -> Tensor:
        """Return the anchors of the first cell, (ratios * scales, 4), first and last pixel.

        Args:
            base_size: Pixels per side of a cell.
            scales: Factors on the rounded sides, (S,).
            ratios: Height over width, (R,).
        """
        ratios = ratios.double()[:, None]
        width = _round((base_size**2 / ratios).floor().sqrt())
        height = _round(width * ratios)
        half = torch.stack((width, height), dim=-1) * scales.double()[:, None] / 2 - 0.5
        middle = (base_size - 1) / 2
        return torch.cat((middle - half, middle + half), dim=-1).flatten(0, 1).float()


def _round(x: Tensor) -> Tensor:
    """Round half up; torch.round rounds half to even."""
    return (x + 0.5).floor()
