"""Box deltas in the "+1" convention."""

from collections.abc import Sequence

import torch
from mmdet.models.task_modules.coders import LegacyDeltaXYWHBBoxCoder
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor


@TASK_UTILS.register_module()
class OriginalBoxCoder(LegacyDeltaXYWHBBoxCoder):
    """Box coder that encodes as mmdet's legacy coder and decodes with the exact inverse.

    The legacy coder decodes boxes that are half a pixel larger on each side and limits the change of size, unlike the
    original. Arguments are those of mmdet's coder (``target_means``, ``target_stds``).
    """

    def decode(
        self,
        bboxes: Tensor,
        pred_bboxes: Tensor,
        max_shape: Sequence[int] | None = None,
        wh_ratio_clip: float | None = None,
    ) -> Tensor:
        """Apply deltas to boxes.

        Args:
            bboxes: Boxes (N, 4), first and last pixel.
            pred_bboxes: Normalized deltas (N, 4 * groups) as (dx, dy, dw, dh).
            max_shape: Height and width of the image that the boxes are clipped to; None for no clipping.

        Returns:
            Boxes (N, 4 * groups).
        """
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
