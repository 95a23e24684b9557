"""Association of the boxes of two key frames, for *coast* and *interpolate*."""

import numpy as np
import torch
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Boxes (n, 4) float64, scores (n,) and labels (n,) of a frame."""

MAX_DISTANCE = 2.0
"""Largest :func:`box_distance` of linked boxes.

Key frames are many frames apart, so fast and narrow objects do not overlap with themselves. Boxes without overlap can
be linked if their centers are at most a diagonal apart; requiring overlap, as trackers usually do, would weaken both
baselines considerably.
"""

SCORE_WEIGHT = 0.5
"""Weight of the difference in score, which prevents links to a weak second box on the same object."""


def arrays_of(instances: InstanceData) -> Arrays:
    """Return copies of boxes, scores and labels."""
    found = instances.cpu()
    scores, labels = (found[name].numpy().copy() for name in ('scores', 'labels'))
    return found.bboxes.numpy().astype(np.float64), scores, labels


def box_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return (1 - IoU) + distance of the centers in mean diagonals, (n, m), of boxes (n, 4) and (m, 4), xyxy.

    It is 0 for equal boxes.
    """
    first = np.asarray(first, dtype=np.float64).reshape(-1, 4)
    second = np.asarray(second, dtype=np.float64).reshape(-1, 4)
    iou = bbox_overlaps(torch.from_numpy(first), torch.from_numpy(second)).numpy()
    center_a, center_b = (first[:, :2] + first[:, 2:]) / 2, (second[:, :2] + second[:, 2:]) / 2
    apart = np.linalg.norm(center_a[:, None] - center_b[None], axis=-1)
    diagonal_a = np.linalg.norm(first[:, 2:] - first[:, :2], axis=-1)
    diagonal_b = np.linalg.norm(second[:, 2:] - second[:, :2], axis=-1)
    diagonal = (diagonal_a[:, None] + diagonal_b[None]) / 2
    return 1 - iou + apart / np.maximum(diagonal, 1e-6)


def link(first: Arrays, second: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Link boxes one to one within each class at the least total cost (Hungarian assignment).

    Args:
        first: Boxes (n, 4) xyxy, scores (n,) and labels (n,).
        second: Likewise of the other frame, m boxes.

    Returns:
        Linked indices into ``first`` and into ``second``, of equal length.
    """
    distance = box_distance(first[0], second[0])
    unlinked = MAX_DISTANCE + SCORE_WEIGHT
    cost = distance + SCORE_WEIGHT * np.abs(first[1][:, None] - second[1][None])
    allowed = (first[2][:, None] == second[2][None]) & (distance <= MAX_DISTANCE)
    rows, columns = linear_sum_assignment(np.where(allowed, cost, unlinked))
    chosen = allowed[rows, columns]
    return rows[chosen], columns[chosen]
