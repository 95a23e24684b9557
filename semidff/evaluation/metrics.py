"""Further metrics: COCO's AP, gap recovery, end-point error of optical flow."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric

from .vid_ap import Detections, GroundTruth, same_key_pairs

FIGURES = ('AP', 'AP_50', 'AP_75')
"""Mean over IoU 0.5 to 0.95, at 0.5 and at 0.75: the first of ``COCOeval.stats``."""
MIN_SCORE = 0.3
"""Detections of a reference with a lower score are no ground truth."""

_IOUS, _RECALLS = np.linspace(0.5, 0.95, 10), np.linspace(0, 1, 101)
_MOST = 100  # detections of a class in a frame


def gap_recovery(score: float, frame: float, copy: float) -> float:
    """Compute ``(mAP - mAP_copy) / (mAP_frame - mAP_copy)``, the recovered share of the gap.

    It is 0 for copy and 1 for frame, below 0 if worse than copy, above 1 if better than frame, and
    NaN where copy is as good as frame or better, or where an mAP is NaN.
    """
    gap = frame - copy
    return (score - copy) / gap if gap > 0 else math.nan


def confident(reference: Detections, num_frames: int, min_score: float = MIN_SCORE) -> GroundTruth:
    """Return the detections of a score of at least ``min_score`` as ground truth."""
    sure = reference.select(np.flatnonzero(reference.scores >= min_score))
    if not len(sure):
        highest = max(reference.scores, default=0.0)
        raise ValueError(
            f'the dense detector finds no box with a score of at least {min_score} in {num_frames} '
            f'frames (highest {highest:.2f}), so that there is nothing to agree with: lower the '
            'score threshold, or give other videos'
        )
    return GroundTruth(sure.frames, sure.labels, sure.boxes)


def coco_ap(
    truth: GroundTruth,
    detections: Detections,
    num_classes: int,
    crowd: np.ndarray | None = None,
) -> dict[str, float]:
    """Compute ``AP``, ``AP_50`` and ``AP_75``: means of :func:`class_ap` over classes with boxes.

    They are in 0..1; NaN without ground truth other than crowds.
    """
    crowd = np.zeros(len(truth.boxes), bool) if crowd is None else crowd
    if crowd.all():
        return dict.fromkeys(FIGURES, math.nan)
    boxes, figures = class_ap(truth, detections, num_classes, crowd)
    return {name: float(np.average(ap, weights=boxes > 0)) for name, ap in figures.items()}


def class_ap(
    truth: GroundTruth,
    detections: Detections,
    num_classes: int,
    crowd: np.ndarray | None = None,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Compute ``AP``, ``AP_50`` and ``AP_75`` of each class as pycocotools does.

    Only the 100 best detections of a class in a frame count. ``crowd``, (m,) bool, says which boxes
    of the ground truth are crowds: they need not be detected, and detections that lie in them and
    match no other box do not count.

    Returns:
        Number of boxes that are no crowds, (num_classes,), and the metrics, (num_classes,) each, 0
        for classes without ground truth.
    """
    crowd = np.zeros(len(truth.boxes), bool) if crowd is None else crowd
    ranked = detections.ranked()
    ranked = ranked.select(np.isin(ranked.labels, truth.labels))
    keys = ranked.keys(num_classes)
    order = np.argsort(keys, kind='stable')
    place = np.arange(len(keys)) - np.searchsorted(keys[order], keys[order])
    ranked = ranked.select(np.sort(order[place < _MOST]))
    hits, ignored = _matches(truth, ranked, num_classes, crowd)
    boxes = np.bincount(truth.labels[~crowd], minlength=num_classes)
    figures = {name: np.zeros(num_classes) for name in FIGURES}
    for label in np.flatnonzero(boxes):
        own = ranked.labels == label
        found, missed = (
            np.cumsum(rows[:, own], 1, dtype=float) for rows in (hits, ~hits & ~ignored)
        )
        precision = found / np.maximum(found + missed, 1)
        precision = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
        precision = np.pad(precision, ((0, 0), (0, 1)))  # of a recall that is not reached
        reached = [np.searchsorted(recall, _RECALLS) for recall in found / boxes[label]]
        curve = np.take_along_axis(precision, np.array(reached), 1).mean(1)
        for name, ap in zip(FIGURES, (curve.mean(), curve[0], curve[5]), strict=True):
            figures[name][label] = ap
    return boxes, figures


def _matches(
    truth: GroundTruth, ranked: Detections, num_classes: int, crowd: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which of n ranked detections match a box, and which match nothing but a crowd, at each
    of ten IoUs, (10, n) bool each.
    """
    free = [2 ** len(_IOUS) - 1] * len(truth.boxes)  # a bit for each IoU
    hits, ignored = [0] * len(ranked), [0] * len(ranked)
    for rows, boxes, _ in same_key_pairs(ranked.keys(num_classes), truth.keys(num_classes)):
        iou = _coco_iou(ranked.boxes[rows], truth.boxes[boxes], crowd[boxes])
        near = np.flatnonzero(iou >= _IOUS[0])
        # Crowds are last; of equal overlaps, the last box wins.
        near = near[np.lexsort((-boxes[near], -iou[near], crowd[boxes[near]], rows[near]))]
        reached = 2 ** np.searchsorted(_IOUS, iou[near], 'right') - 1
        pairs = rows[near].tolist(), boxes[near].tolist(), reached.tolist()
        for row, box, bits in zip(*pairs, strict=True):
            bits &= ~hits[row]
            if crowd[box]:
                ignored[row] |= bits
                continue
            bits &= free[box]
            hits[row] |= bits
            free[box] ^= bits
    at = np.arange(len(_IOUS))[:, None]
    hits, ignored = ((np.array(bits, int) >> at & 1).astype(bool) for bits in (hits, ignored))
    return hits, ignored


def _coco_iou(boxes: np.ndarray, others: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Return the IoU of boxes (n, 4) with others, row by row; with crowds, the share of a box that
    lies in them.
    """
    boxes, others = boxes.astype(float), others.astype(float)
    low, high = np.maximum(boxes[:, :2], others[:, :2]), np.minimum(boxes[:, 2:], others[:, 2:])
    common = np.prod(np.maximum(high - low, 0), 1)
    area, other = (np.prod(corners[:, 2:] - corners[:, :2], 1) for corners in (boxes, others))
    return common / np.maximum(np.where(crowd, area, area + other - common), 1e-9)


@METRICS.register_module()
class EndPointErrorMetric(BaseMetric):
    """Mean distance of predicted from true flow over the pixels of all pairs, in pixels (FlowNet).

    Data samples have ``pred_flow.data`` and ``gt_flow.data``, both (2, H, W), in pixels.
    """

    default_prefix = 'flow'

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            predicted = sample['pred_flow']['data']
            true = sample['gt_flow']['data'].to(predicted.device, torch.float64)
            self.results.append(
                (_length(predicted.double() - true), _length(true), true[0].numel())
            )

    def compute_metrics(self, results: list[tuple[float, float, int]]) -> dict[str, float]:
        """Compute means over all pixels.

        Args:
            results: For each pair the sum of the errors, the sum of the errors of zero flow, and
                the number of pixels.

        Returns:
            ``EPE``; ``EPE_zero``, the error of zero flow; and ``reduction``, 1 - EPE / EPE_zero
            (NaN where nothing moves).
        """
        error, zero, pixels = (sum(column) for column in zip(*results, strict=True))
        reduction = 1 - error / zero if zero else float('nan')
        return dict(EPE=error / pixels, EPE_zero=zero / pixels, reduction=reduction)


def _length(flow: torch.Tensor) -> float:
    return float(flow.square().sum(0).sqrt().sum())
