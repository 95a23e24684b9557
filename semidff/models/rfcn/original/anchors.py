"""Anchors of whole pixels, as the original makes them (Faster R-CNN's, Ren et al. 2015)."""

import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmdet.registry import TASK_UTILS
from torch import Tensor


@TASK_UTILS.register_module()
class OriginalAnchorGenerator(AnchorGenerator):
    """Anchors whose sides are rounded to pixels *before* they are scaled, and which end on their last pixel.

    With stride 16, scales (8, 16, 32) and ratios (0.5, 1, 2): the first of the nine is (-84, -40, 99, 55), 184 x 96
    pixels; mmdet's, also its ``LegacyAnchorGenerator``, is 181 x 91. The order is mmdet's, ratio before scale.
    Arguments are those of mmdet's ``AnchorGenerator``; ``centers`` and ``center_offset`` have no effect, for the
    middle is always that of the cell's pixels (7.5 for 16 pixels).
    """

    def gen_single_level_base_anchors(
        self, base_size: float, scales: Tensor, ratios: Tensor, center: object = None
    ) -> Tensor:
        """Anchors of the first cell, (ratios * scales, 4), first and last pixel.

        Args:
            base_size: Pixels per side of a cell.
            scales: Factors on the rounded sides, (S,).
            ratios: Height over width, (R,).
            center: Not used.
        """
        ratios = ratios.double()[:, None]
        width = _round((base_size**2 / ratios).floor().sqrt())
        height = _round(width * ratios)
        half = torch.stack((width, height), dim=-1) * scales.double()[:, None] / 2 - 0.5
        middle = (base_size - 1) / 2
        return torch.cat((middle - half, middle + half), dim=-1).flatten(0, 1).float()


def _round(x: Tensor) -> Tensor:
    """Half up; torch.round takes halves to the even number."""
    return (x + 0.5).floor()
