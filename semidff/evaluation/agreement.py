"""Agreement of detections with those of a reference detector, which measures accuracy without labels."""

import numpy as np

from .coco_ap import coco_ap
from .vid_ap import Detections, GroundTruth

MIN_SCORE = 0.3
"""Detections of the reference with a lower score are no ground truth."""


def agreement(
    reference: Detections,
    found: Detections,
    num_frames: int,
    min_score: float = MIN_SCORE,
) -> dict[str, float]:
    """Compute COCO's AP with a reference detector's confident detections in place of ground truth.

    It is 1 where the boxes are those of the reference and no other box has a higher score than one of them. It cannot
    tell an error of the reference from one of the evaluated detections.

    Args:
        reference: Detections of the reference detector, usually the dense one.
        found: Detections to evaluate, in the same frames.
        num_frames: Number of frames.
        min_score: Lowest score of a reference box.

    Returns:
        ``AP``, ``AP_50`` and ``AP_75`` in 0..1, see :func:`~semidff.evaluation.coco_ap.coco_ap`.

    Raises:
        ValueError: If no box of the reference has this score.
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
