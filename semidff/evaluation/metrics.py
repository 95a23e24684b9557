"""Further metrics: COCO's AP, gap recovery, end-point error of optical flow."""

import contextlib
import io
import math
from collections.abc import Sequence

import numpy as np
import torch
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from .vid_ap import Detections, GroundTruth

FIGURES = ('AP', 'AP_50', 'AP_75')
"""Mean over IoU 0.5 to 0.95, at 0.5 and at 0.75: the first of ``COCOeval.stats``."""
MIN_SCORE = 0.3
"""Detections of a reference with a lower score are no ground truth."""


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
    num_frames: int,
    num_classes: int,
    crowd: np.ndarray | None = None,
) -> dict[str, float]:
    """Compute ``AP``, ``AP_50`` and ``AP_75``: means of :func:`class_ap` over classes with boxes.

    They are in 0..1; NaN without ground truth other than crowds.
    """
    crowd = np.zeros(len(truth.boxes), bool) if crowd is None else crowd
    if crowd.all():
        return dict.fromkeys(FIGURES, math.nan)
    boxes, figures = class_ap(truth, detections, num_frames, num_classes, crowd)
    return {name: float(np.average(ap, weights=boxes > 0)) for name, ap in figures.items()}


def class_ap(
    truth: GroundTruth,
    detections: Detections,
    num_frames: int,
    num_classes: int,
    crowd: np.ndarray | None = None,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Compute ``AP``, ``AP_50`` and ``AP_75`` of each class with pycocotools.

    Only the 100 best detections of a class in a frame count. ``crowd``, (m,) bool, says which boxes
    of the ground truth are crowds: they need not be detected, and detections that lie in them and
    match no other box do not count.

    Returns:
        Number of boxes that are no crowds, (num_classes,), and the metrics, (num_classes,) each, 0
        for classes without ground truth.
    """
    crowd = np.zeros(len(truth.boxes), bool) if crowd is None else crowd
    present = np.unique(truth.labels)  # others would take most of the time
    detections = detections.select(np.flatnonzero(np.isin(detections.labels, present)))
    images = [dict(id=frame) for frame in range(num_frames)]
    categories = [dict(id=label) for label in present.tolist()]
    results, truths = _annotations(detections), _annotations(truth)
    for box, score in zip(results, detections.scores.tolist(), strict=True):
        box['score'] = score
    for box, is_crowd in zip(truths, crowd.tolist(), strict=True):
        box['iscrowd'] = int(is_crowd)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        reference = COCO()
        reference.dataset = dict(images=images, categories=categories, annotations=truths)
        reference.createIndex()
        evaluation = COCOeval(reference, reference.loadRes(results) if results else COCO(), 'bbox')
        # Without detections pycocotools knows no frames.
        evaluation.params.imgIds = list(range(num_frames))
        evaluation.params.catIds = present.tolist()
        # Not small, medium and large boxes, too: a quarter of the time.
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ['all']
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval['precision'][..., 0, -1]  # by IoU, recall and class
    boxes = np.bincount(truth.labels[~crowd], minlength=num_classes)
    curves = precision, precision[0], precision[5]  # IoU 0.5 to 0.95 in steps of 0.05
    figures = {name: np.zeros(num_classes) for name in FIGURES}
    for curve, figure in zip(curves, figures.values(), strict=True):
        figure[present] = curve.reshape(-1, len(present)).mean(0)
    return boxes, figures


def _annotations(boxes: GroundTruth | Detections) -> list[dict]:
    """Return boxes in COCO's format; ids start at 1, since 0 means no match to pycocotools."""
    sides = np.concatenate([boxes.boxes[:, :2], boxes.boxes[:, 2:] - boxes.boxes[:, :2]], axis=1)
    columns = (boxes.frames.tolist(), boxes.labels.tolist(), sides.tolist())
    return [
        dict(id=i, image_id=frame, category_id=label, bbox=box, area=box[2] * box[3], iscrowd=0)
        for i, (frame, label, box) in enumerate(zip(*columns, strict=True), start=1)
    ]


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
