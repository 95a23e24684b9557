"""Proposals from the RPN's scores and boxes, in the original's order and number."""

from collections.abc import Sequence

import torch
from mmcv.ops import batched_nms
from mmengine.config import ConfigDict
from torch import Tensor


def propose(
    scores: Tensor,
    boxes: Tensor,
    image: Sequence[int],
    stride: int,
    cfg: ConfigDict,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Select proposals from the anchors' boxes.

    Cells beyond the last whole stride of the image and boxes that are too small are ranked last, but not removed. If
    too few boxes remain after the suppression, they are repeated in turn.

    Args:
        scores: Foreground probabilities (H, W, A).
        boxes: Decoded and clipped boxes (H, W, A, 4).
        image: Height and width of the network's input.
        stride: Pixels per cell.
        cfg: Settings: the best ``nms_pre`` boxes enter the suppression ``nms``, ``max_per_img`` rows are returned;
            ``min_bbox_size`` is in pixels of the image before resizing.
        scale: Factor by which the image was resized.

    Returns:
        Boxes (R, 4) and scores (R,), R = ``max_per_img`` unless there are fewer anchors.
    """
    scores = scores.clone()
    scores[image[0] // stride :] = -1
    scores[:, image[1] // stride :] = -1
    scores, boxes = scores.flatten(), boxes.flatten(0, -2)
    if cfg.min_bbox_size > 0:
        scores, boxes = _enlarge_small(scores, boxes, cfg.min_bbox_size * scale)
    order = scores.sort(descending=True, stable=True).indices[: cfg.nms_pre]
    scores, boxes = scores[order], boxes[order]
    # Ranks instead of scores preserve the order of equal scores.
    ranks = torch.arange(len(order), 0, -1, dtype=boxes.dtype, device=boxes.device)
    survivors = batched_nms(boxes, ranks, torch.zeros_like(ranks), cfg.nms)[1]
    rows = torch.arange(min(cfg.max_per_img, len(order)), device=boxes.device)
    chosen = survivors[rows % len(survivors)]
    return boxes[chosen], scores[chosen]


def _enlarge_small(scores: Tensor, boxes: Tensor, smallest: float) -> tuple[Tensor, Tensor]:
    """Extend boxes smaller than ``smallest`` by half of it on each side, even beyond the image, and rank them last."""
    small = (boxes[:, 2:] - boxes[:, :2] + 1 < smallest).any(dim=1)
    growth = boxes.new_tensor([-1, -1, 1, 1]) * (smallest / 2)
    return scores.where(~small, -1), boxes.where(~small[:, None], boxes + growth)
