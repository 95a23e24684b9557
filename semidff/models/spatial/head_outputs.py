"""What a detector's heads say before any post-processing: the quantities that semi-DFF distils (3.4)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class HeadOutputs(NamedTuple):
    """Raw outputs of the heads, one row per anchor (point) or RoI of the whole batch.

    Attributes:
        anchor_logits: (A, K) for softmax heads, (A, K, 2) for sigmoid heads; the last dimension is a distribution.
        anchor_boxes: (A, D) raw box outputs, before decoding; D is 4 for deltas.
        roi_logits: (R, C + 1), or None for a single-stage detector.
        roi_boxes: (R, D) raw box outputs, or None.
    """

    anchor_logits: Tensor
    anchor_boxes: Tensor
    roi_logits: Tensor | None = None
    roi_boxes: Tensor | None = None


def flatten_dense(head, outputs: Sequence[Sequence[Tensor]]) -> tuple[Tensor, Tensor]:
    """Rows of a dense head's outputs over all images, levels and anchors.

    Args:
        head: The mmdet dense head (``cls_out_channels``, ``use_sigmoid_cls``).
        outputs: What ``head.forward`` returned; its first two entries are per-level scores (N, A * K, H, W) and
            boxes (N, A * D, H, W).

    Returns:
        Logits and boxes as :class:`HeadOutputs` has them.
    """
    classes = head.cls_out_channels
    logits, boxes = [], []
    for score, box in zip(*outputs[:2], strict=True):
        anchors = score.shape[1] // classes
        logits.append(score.permute(0, 2, 3, 1).reshape(-1, classes))
        boxes.append(box.permute(0, 2, 3, 1).reshape(-1, box.shape[1] // anchors))
    logits, boxes = torch.cat(logits), torch.cat(boxes)
    if getattr(head, 'use_sigmoid_cls', False):
        # A sigmoid is the two-class softmax of (logit, 0).
        logits = torch.stack((logits, torch.zeros_like(logits)), dim=-1)
    return logits, boxes
