"""Which boxes of two key frames are the same object; shared by *coast* and *interpolate*."""

import numpy as np
import torch
from mmdet.structures.bbox import bbox_overlaps
from scipy.optimize import linear_sum_assignment

MAX_DISTANCE = 2.0
"""Pairs whose :func:`box_distance` is larger are never linked.  Key frames are many frames apart,
so fast and narrow objects do not overlap with themselves: without overlap the centers may be a
diagonal apart.  (Trackers' usual demand for overlap would weaken both baselines a lot.)"""

SCORE_WEIGHT = 0.5
"""What a difference in score of 1 adds to the distance: it keeps an object's box from being linked
with a weak second box on the same object."""


def box_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(1 - IoU) + distance of the centers in mean diagonals, for every pair.

    Args:
        first (ndarray): (n, 4), xyxy.
        second (ndarray): (m, 4), xyxy.

    Returns:
        ndarray: (n, m), from 0 for equal boxes.
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


def link(
    first: tuple[np.ndarray, np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """One-to-one links of least total cost within each class (Hungarian assignment).

    Args:
        first (tuple): Boxes (n, 4) xyxy, scores (n,) and labels (n,).
        second (tuple): The same of the other frame, m of them.

    Returns:
        tuple[ndarray, ndarray]: Linked indices into ``first`` and into ``second``, equally long.
    """
    distance = box_distance(first[0], second[0])
    unlinked = MAX_DISTANCE + SCORE_WEIGHT
    cost = distance + SCORE_WEIGHT * np.abs(first[1][:, None] - second[1][None])
    allowed = (first[2][:, None] == second[2][None]) & (distance <= MAX_DISTANCE)
    rows, columns = linear_sum_assignment(np.where(allowed, cost, unlinked))
    chosen = allowed[rows, columns]
    return rows[chosen], columns[chosen]
