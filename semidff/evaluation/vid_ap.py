"""Average precision exactly as the ImageNet VID evaluator computes it.

* A detection matches a ground-truth box at an IoU of at least ``min(0.5, w h / ((w + 10) (h +
  10)))``, which tolerates ten pixels for small boxes. Coordinates are inclusive: widths and heights
  are ``x2 - x1 + 1`` everywhere.
* In a frame, detections are matched in the order of their scores, each to the unmatched box of its
  class with the highest IoU among those whose threshold it reaches. A detection without such a box
  is a false positive.
* Precision is made monotone from the right; AP is the whole area under it (not 11 points, not 101).

The original sorts unstably, so its result is arbitrary within ties of scores. Here every sort is
stable: ties are in the order of the frames, and within a frame in the order of the detections.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np

_PAIRS_AT_ONCE = 2_000_000

_R = TypeVar('_R', bound='_Rows')


class _Rows:
    """Arrays of equal length, with an element per box."""

    frames: np.ndarray
    labels: np.ndarray

    def select(self: _R, rows: np.ndarray) -> _R:
        """Select boxes by indices or by a mask."""
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))

    def keys(self, num_classes: int) -> np.ndarray:
        """Return a number for each box, equal for boxes of one class in one frame."""
        return self.frames.astype(np.int64) * num_classes + self.labels


@dataclass(frozen=True)
class GroundTruth(_Rows):
    """Boxes of all evaluated frames.

    Attributes:
        frames: Position of the box's frame in the evaluation order, (m,) int.
        labels: Class, from 0, (m,) int.
        boxes: (m, 4) float, x1, y1, x2, y2 in pixels, inclusive.
    """

    frames: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray

    def count(self, num_classes: int) -> np.ndarray:
        """Count the boxes of each class, (num_classes,) int."""
        return np.bincount(self.labels, minlength=num_classes)


@dataclass(frozen=True)
class Detections(_Rows):
    """Detections of all evaluated frames.

    Attributes:
        frames: Position of the detection's frame in the evaluation order, (n,) int.
        labels: Class, from 0, (n,) int.
        scores: (n,) float.
        boxes: (n, 4) float, x1, y1, x2, y2 in pixels, inclusive.
    """

    frames: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def ranked(self) -> 'Detections':
        """Sort by descending score; ties in frame order, then in the present order."""
        return self.select(np.lexsort((self.frames, -self.scores)))


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute the IoU of boxes (n, 4), inclusive x1, y1, x2, y2, row by row; 0 where disjoint."""
    a, b = a.astype(float), b.astype(float)
    width = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0]) + 1
    height = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1]) + 1
    area_a = (a[:, 2] - a[:, 0] + 1) * (a[:, 3] - a[:, 1] + 1)
    area_b = (b[:, 2] - b[:, 0] + 1) * (b[:, 3] - b[:, 1] + 1)
    common = width * height
    touching = (width > 0) & (height > 0)
    return np.divide(common, area_a + area_b - common, out=np.zeros(len(a)), where=touching)


def iou_threshold(boxes: np.ndarray) -> np.ndarray:
    """Compute the least IoU of a match for each ground-truth box, (m, 4) -> (m,)."""
    width = boxes[:, 2] - boxes[:, 0] + 1
    height = boxes[:, 3] - boxes[:, 1] + 1
    return np.minimum(0.5, width * height / ((width + 10) * (height + 10)))


def same_key_pairs(
    left: np.ndarray, right: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield all pairs of a left and a right element with equal keys, in chunks of bounded size.

    Yields:
        Positions in ``left`` (ascending), positions in ``right`` (ascending for each left element),
        and the index of each left element's first pair in these two.
    """
    order = np.argsort(right, kind='stable')
    keys = right[order]
    first = np.searchsorted(keys, left, 'left')
    count = np.searchsorted(keys, left, 'right') - first
    with_pairs = np.flatnonzero(count)
    parts = np.cumsum(count[with_pairs]) // _PAIRS_AT_ONCE
    for chunk in np.split(with_pairs, np.flatnonzero(np.diff(parts)) + 1):
        if not len(chunk):
            continue
        length = count[chunk]
        starts = np.cumsum(length) - length
        offset = np.arange(length.sum()) - np.repeat(starts, length)
        yield np.repeat(chunk, length), order[np.repeat(first[chunk], length) + offset], starts


def match_detections(truth: GroundTruth, ranked: Detections, num_classes: int) -> np.ndarray:
    """Return the ground-truth box of each ranked detection, (n,) int; -1 for a false positive."""
    threshold = iou_threshold(truth.boxes)
    matched = np.full(len(ranked), -1)
    free = np.ones(len(truth.boxes), bool)
    for detection, box, _ in same_key_pairs(ranked.keys(num_classes), truth.keys(num_classes)):
        iou = box_iou(ranked.boxes[detection], truth.boxes[box])
        near = np.flatnonzero(iou >= threshold[box])
        # lexsort is stable: of equal overlaps the first box wins, as in the original
        near = near[np.lexsort((-iou[near], detection[near]))]
        for d, b in zip(detection[near].tolist(), box[near].tolist(), strict=True):
            if matched[d] < 0 and free[b]:
                matched[d] = b
                free[b] = False
    return matched


def area_under_curve(hits: np.ndarray, misses: np.ndarray, num_boxes: int) -> float:
    """Compute the AP of a class from its detections in the order of their scores.

    Args:
        hits: (n,) 1 for a true positive, else 0.
        misses: (n,) weight of the detection as a false positive, usually 0 or 1.

    Returns:
        AP in 0..1. Without ground truth, as in the original: 0 if there is no detection either,
        else NaN.
    """
    if not num_boxes:
        return float('nan') if len(hits) else 0.0
    found = np.cumsum(hits, dtype=float)
    tried = np.maximum(found + np.cumsum(misses, dtype=float), np.finfo(float).eps)
    recall = np.concatenate(([0.0], found / num_boxes, [1.0]))
    precision = np.concatenate(([0.0], found / tried, [0.0]))
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    step = np.flatnonzero(recall[1:] != recall[:-1])
    return float(np.sum((recall[step + 1] - recall[step]) * precision[step + 1]))


def ap_per_class(
    labels: np.ndarray, hits: np.ndarray, misses: np.ndarray, num_boxes: np.ndarray
) -> np.ndarray:
    """Compute :func:`area_under_curve` of every class, (num_classes,), from ranked detections."""
    by_class = np.argsort(labels, kind='stable')
    ends = np.cumsum(np.bincount(labels, minlength=len(num_boxes)))
    ap = [
        area_under_curve(hits[rows], misses[rows], count)
        for rows, count in zip(np.split(by_class, ends[:-1]), num_boxes, strict=True)
    ]
    return np.array(ap)


def mean_ap(ap: np.ndarray, num_boxes: np.ndarray, rule: str = 'present') -> float:
    """Compute the mean AP over classes.

    Args:
        ap: (num_classes,)
        num_boxes: (num_classes,), ground-truth boxes.
        rule: ``'present'``: mean over the classes with ground truth. ``'imagenet'``: mean over all
            classes, as in the original. A class without ground truth contributes 0 if it was not
            detected either; otherwise its AP, and so the mean, is NaN. The rules agree where every
            class has ground truth.

    Returns:
        mAP in 0..1; NaN where it is undefined.
    """
    counted = ap[{'present': num_boxes > 0, 'imagenet': slice(None)}[rule]]
    return float(np.mean(counted)) if len(counted) else float('nan')
