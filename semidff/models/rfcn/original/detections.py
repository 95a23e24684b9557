"""Detections from boxes and class scores, as in the original's tester."""

import torch
from mmcv.ops import batched_nms
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor


def detections(boxes: Tensor, scores: Tensor, cfg: ConfigDict) -> InstanceData:
    """Suppress boxes class by class, then limit their number per image.

    mmdet suppresses all classes in one call on boxes that are offset by class; so far from the origin, float32 cannot
    resolve overlaps near the threshold.

    Args:
        boxes: Boxes of any class (R, 4), in coordinates of the original image.
        scores: Probabilities of the foreground classes (R, C).
        cfg: Settings: boxes with scores above ``score_thr`` enter the suppression ``nms``; the best ``max_per_img``
            are kept, and those with the same score as the last of them.

    Returns:
        ``bboxes`` (D, 4), ``scores`` (D,) and ``labels`` (D,), best first.
    """
    kept, classes = [], scores > cfg.score_thr
    for label in range(scores.shape[1]):
        own = classes[:, label].nonzero()[:, 0]
        if len(own):
            score = scores[own, label]
            chosen = batched_nms(boxes[own], score, torch.zeros_like(own), cfg.nms)[1]
            kept.append(torch.stack((own[chosen], torch.full_like(chosen, label))))
    roi, label = torch.cat(kept, dim=1) if kept else scores.new_zeros((2, 0), dtype=torch.long)
    order = scores[roi, label].argsort(descending=True, stable=True)
    roi, label = roi[order], label[order]
    score = scores[roi, label]
    if 0 < cfg.max_per_img < len(score):
        limit = int((score >= score[cfg.max_per_img - 1]).sum())
        roi, label, score = roi[:limit], label[:limit], score[:limit]
    return InstanceData(bboxes=boxes[roi], scores=score, labels=label)
