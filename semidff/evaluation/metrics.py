"""Further metrics: COCO's AP, agreement with a reference detector, gap recovery, end-point error of optical flow."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric

from .vid_ap import Detections, GroundTruth, same_key_pairs

FIGURES = ('AP', 'AP_50', 'AP_75')
"""Mean over IoU 0.5 to 0.95, at 0.5 and at 0.75: the first of ``COCOeval.stats``."""
_IOUS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0, 1, 101)
_MOST_OF_CLASS = 100  # detections in a frame
MIN_SCORE = 0.3
"""Detections of the reference with a lower score are no ground truth for :func:`agreement`."""


def gap_recovery(score: float, frame: float, copy: float) -> float:
    """Compute ``(mAP - mAP_copy) / (mAP_frame - mAP_copy)``: the share of the gap that a method recovers.

    It is 0 for copy itself, 1 for frame, below 0 for a method worse than copy, above 1 for one better than frame.

    It is NaN where copy is as good as frame or better (the videos are too easy, or the interval is too short, for a
    comparison), or where an mAP is NaN. Tables show ``-``.
    """
    gap = frame - copy
    return (score - copy) / gap if gap > 0 else math.nan


def agreement(
    reference: Detections, found: Detections, num_frames: int, min_score: float = MIN_SCORE
) -> dict[str, float]:
    """Compute COCO's AP with a reference detector's confident detections in place of ground truth.

    It is 1 where the boxes are those of the reference and no other box has a higher score than one of them. It cannot
    tell an error of the reference from one of the evaluated detections.

    Args:
        found: Detections to evaluate, in the same frames.
        min_score: Lowest score of a reference box.

    Returns:
        ``AP``, ``AP_50`` and ``AP_75`` in 0..1, see :func:`coco_ap`.
    """
    sure = reference.select(np.flatnonzero(reference.scores >= min_score))
    if not len(sure):
        highest = max(reference.scores, default=0.0)
        raise ValueError(
            f'the dense detector finds no box with a score of at least {min_score} in {num_frames} frames (highest '
            f'{highest:.2f}), so that there is nothing to agree with: lower the score threshold, or give other videos'
        )
    truth = GroundTruth(sure.frames, sure.labels, sure.boxes)
    num_classes = 1 + max(sure.labels.max(), found.labels.max(initial=0))
    return coco_ap(truth, found, num_frames, int(num_classes))


def coco_ap(
    truth: GroundTruth,
    detections: Detections,
    num_frames: int,
    num_classes: int,
    crowd: np.ndarray | None = None,
) -> dict[str, float]:
    """Compute ``AP``, ``AP_50`` and ``AP_75`` in 0..1, means over the classes with ground truth, as pycocotools does.

    The values are those of pycocotools, which takes twenty times as long. Only the 100 best detections of a class in a
    frame are counted. The metrics are NaN without ground truth that is no crowd. ``crowd``, (m,) bool, says which boxes
    of the ground truth are crowds: they need not be found, and detections that lie in them and match no other box are
    not counted.
    """
    crowd = np.zeros(len(truth.boxes), bool) if crowd is None else crowd
    if crowd.all():
        return dict.fromkeys(FIGURES, float('nan'))
    # By score; equal ones by frame, then as given.
    ranked = detections.select(np.lexsort((detections.frames, -detections.scores)))
    cells = ranked.frames.astype(np.int64) * num_classes + ranked.labels
    by_cell = np.argsort(cells, kind='stable')
    starts = np.searchsorted(cells[by_cell], cells[by_cell])
    best = np.sort(by_cell[np.arange(len(cells)) - starts < _MOST_OF_CLASS])
    ranked, cells = ranked.select(best), cells[best]
    hits, ignored = _match(truth, crowd, ranked, cells, num_classes)
    counts = truth.select(~crowd).count(num_classes)
    precision = np.zeros((len(_IOUS), len(_RECALLS), np.count_nonzero(counts)))
    for at, label in enumerate(np.flatnonzero(counts)):
        own = ranked.labels == label
        found, missed = (
            np.cumsum(those[:, own], axis=1, dtype=float) for those in (hits, ~hits & ~ignored)
        )
        exact = found / (missed + found + np.spacing(1))
        exact = np.maximum.accumulate(exact[:, ::-1], axis=1)[:, ::-1]
        exact = np.pad(exact, ((0, 0), (0, 1)))  # no precision at recalls that are not reached
        for row, recall in enumerate(found / counts[label]):
            precision[row, :, at] = exact[row, np.searchsorted(recall, _RECALLS)]
    at_ious = precision, precision[0], precision[_IOUS == 0.75]
    return {name: float(part.mean()) for name, part in zip(FIGURES, at_ious, strict=True)}


def _match(
    truth: GroundTruth, crowd: np.ndarray, ranked: Detections, cells: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return which detections match a box, and which lie in a crowd instead: (ious, n) bool at each IoU.

    In the order of their scores, detections match the free box with the largest IoU, of equal ones the last.
    """
    own, wanted = _sides(ranked), _sides(truth)
    levels = np.arange(len(_IOUS))
    free, matched = [2 ** len(_IOUS) - 1] * len(wanted), [0] * len(own)  # one bit for each IoU
    reached = np.zeros(len(own), int)  # number of IoUs that a crowd reaches
    boxes_cells = truth.frames.astype(np.int64) * num_classes + truth.labels
    for detection, box, _ in same_key_pairs(cells, boxes_cells):
        iou = _coco_iou(own[detection], wanted[box], crowd[box])
        number = np.searchsorted(_IOUS, iou, 'right')
        inside = crowd[box]
        np.maximum.at(reached, detection[inside], number[inside])
        near = np.flatnonzero((number > 0) & ~inside)
        near = near[np.lexsort((-box[near], -iou[near], detection[near]))]
        columns = (column[near].tolist() for column in (detection, box, 2**number - 1))
        for d, b, bits in zip(*columns, strict=True):
            taken = free[b] & bits & ~matched[d]
            free[b] ^= taken
            matched[d] |= taken
    hits = (np.array(matched, int) >> levels[:, None] & 1).astype(bool)
    return hits, ~hits & (levels[:, None] < reached)


def _sides(boxes: GroundTruth | Detections) -> np.ndarray:
    """Return COCO's x, y, width and height, (n, 4) in double precision, of differences in that of the boxes."""
    corners = boxes.boxes
    sides = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    return sides.astype(float)


def _coco_iou(found: np.ndarray, wanted: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Compute the IoU of pairs of boxes, (n, 4) each; with crowds, the share of the detection's area."""
    ends = np.minimum(found[:, 2:] + found[:, :2], wanted[:, 2:] + wanted[:, :2])
    width, height = (ends - np.maximum(found[:, :2], wanted[:, :2])).T
    common, area = width * height, found[:, 2] * found[:, 3]
    union = np.where(crowd, area, area + wanted[:, 2] * wanted[:, 3] - common)
    return np.divide(common, union, out=np.zeros(len(found)), where=(width > 0) & (height > 0))


@METRICS.register_module()
class EndPointErrorMetric(BaseMetric):
    """Mean distance between predicted and true flow over all pixels of all pairs, in pixels of the frames (FlowNet).

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
            results: For each pair the sum of the errors, the sum of the errors of zero flow, and the number of pixels.

        Returns:
            ``EPE``; ``EPE_zero``, the error of zero flow; and ``reduction``, 1 - EPE / EPE_zero (NaN where nothing
            moves).
        """
        error, zero, pixels = (sum(column) for column in zip(*results, strict=True))
        reduction = 1 - error / zero if zero else float('nan')
        return dict(EPE=error / pixels, EPE_zero=zero / pixels, reduction=reduction)


def _length(flow: torch.Tensor) -> float:
    return float(flow.square().sum(0).sqrt().sum())
