"""Which boxes of two frames are one object: overlaps, classes, and links one to one."""

from typing import NamedTuple

import numpy as np

_LEAST_IOU = 0.4  # of a track and its detection
_LEAST_IOU_OTHER = 0.6  # the same, of different classes
_SAME_BOX = 0.95  # IoU of detections of different classes that are one object


class Detections(NamedTuple):
    """Detections of a frame.

    Attributes:
        boxes: (n, 4), xyxy, in pixels of the frame.
        scores: (n,), 0 to 1.
        labels: (n,), integers.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, detections: tuple, num_classes: int) -> 'Detections':
        """Return arrays, from anything that NumPy converts without a loss."""
        boxes, scores, labels = (np.asarray(values) for values in detections)
        boxes, scores = boxes.astype(np.float64).reshape(-1, 4), scores.astype(np.float64).ravel()
        integers = labels.astype(int).ravel()
        if not len(boxes) == len(scores) == len(integers):
            raise ValueError(
                f'a frame has {len(boxes)} boxes, {len(scores)} scores and {len(integers)} labels'
            )
        wrong = (integers != labels.ravel()) | (integers < 0) | (integers >= num_classes)
        if wrong.any():
            raise ValueError(
                f'labels are integers from 0 to {num_classes - 1}, got {labels.ravel()[wrong][0]}'
            )
        return cls(boxes, scores, integers)


class Objects(NamedTuple):
    """Objects that a detector finds: boxes, scores (n, 2, C) as in :class:`Estimate`, best ones,
    indices.
    """

    boxes: np.ndarray
    scores: np.ndarray
    best: np.ndarray
    indices: np.ndarray


def link(
    boxes: np.ndarray,
    scores: np.ndarray,
    others: np.ndarray,
    other_scores: np.ndarray,
    settled: np.ndarray | float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Link boxes (n, 4) and (m, 4) one to one by IoU, those of one class first; return indices into
    both.

    ``settled``, (n,), is added to the IoU of the first ones.
    """
    iou = overlaps(boxes, others)
    same = classes_of(scores)[:, None] == classes_of(other_scores)
    allowed = iou >= np.where(same, _LEAST_IOU, _LEAST_IOU_OTHER)
    return assign(iou + np.where(same, 1.0, 0.5) + np.reshape(settled, (-1, 1)), allowed)


def assign(gain: np.ndarray, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the allowed pairs (n, m) with the largest sum of gains, one to one, as indices."""
    from scipy.optimize import linear_sum_assignment  # takes half a second

    rows, columns = linear_sum_assignment(np.where(allowed, gain, 0.0), maximize=True)
    chosen = allowed[rows, columns]
    return rows[chosen], columns[chosen]


def others_than(indices: np.ndarray, count: int) -> np.ndarray:
    """Return the indices below a number that are not among some, several times faster than
    ``np.setdiff1d``.
    """
    others = np.ones(count, bool)
    others[indices] = False
    return np.flatnonzero(others)


def distances(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return distances (n, m): of the centers, in mean diagonals, and of the logarithms of the
    diagonals.
    """
    (center, size), (other, other_size) = (
        ((one[:, :2] + one[:, 2:]) / 2, np.linalg.norm(one[:, 2:] - one[:, :2], axis=1) + 1e-6)
        for one in (boxes, others)
    )
    apart = np.linalg.norm(center[:, None] - other, axis=-1) / (size[:, None] + other_size) * 2
    return apart + np.abs(np.log(size[:, None] / other_size))


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the IoU (n, m) of boxes (n, 4) and (m, 4), xyxy."""
    top = np.maximum(boxes[:, None, :2], others[None, :, :2])
    bottom = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    width, height = np.moveaxis(np.maximum(bottom - top, 0), -1, 0)
    both = width * height
    return both / np.maximum(areas(boxes)[:, None] + areas(others) - both, 1e-9)


def inside(boxes: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Return which boxes (n, 4) are in one of the windows (m, 4), (n,) bool."""
    begins = (boxes[:, None, :2] >= windows[:, :2]).all(-1)
    return (begins & (boxes[:, None, 2:] <= windows[:, 2:]).all(-1)).any(1)


def areas(boxes: np.ndarray) -> np.ndarray:
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    return width * height


def classes_of(scores: np.ndarray) -> np.ndarray:
    return scores[:, 0].argmax(-1) if scores.size else np.zeros(len(scores), int)


def objects_of(detections: Detections, strong: np.ndarray, classes: int) -> Objects:
    """Return the objects of strong detections: those of several classes with one box are one
    object.
    """
    strong = strong[np.argsort(-detections.scores[strong], kind='stable')]
    boxes, scores, labels = (values[strong] for values in detections)
    alike = (overlaps(boxes, boxes) >= _SAME_BOX) & (labels[:, None] != labels)
    owner = np.arange(len(strong))
    for best in np.flatnonzero(np.triu(alike).any(1)):
        if owner[best] == best:
            later = np.flatnonzero(alike[best] & (owner == np.arange(len(strong))))
            owner[later[later > best]] = best
    heads, at = np.unique(owner, return_inverse=True)
    own = np.zeros((len(heads), 2, classes))
    np.maximum.at(own, (at, (owner != np.arange(len(strong))).astype(int), labels), scores)
    return Objects(
        boxes[heads].astype(np.float64), own, scores[heads].astype(np.float64), strong[heads]
    )
