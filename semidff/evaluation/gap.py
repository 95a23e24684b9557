"""Gap recovery: share of the accuracy lost by *copy* relative to *frame* that a method recovers."""

import math


def gap_recovery(score: float, frame: float, copy: float) -> float:
    """Compute the share of the gap between copy and frame that a method recovers.

    ``(mAP - mAP_copy) / (mAP_frame - mAP_copy)``: 0 for copy itself, 1 for frame, below 0 for a
    method worse than copy, above 1 for one better than frame.

    Args:
        score: mAP of the method.
        frame: mAP of the image detector on every frame, in the same unit.
        copy: mAP of key-frame features kept unchanged, in the same unit.

    Returns:
        The share; NaN where there is no gap, since copy is as good as frame or better, or where an mAP is NaN. Then
        the videos are too easy, or the interval is too short, for a comparison. Tables show ``-``.
    """
    gap = frame - copy
    if math.isnan(gap) or gap <= 0:
        return math.nan
    return (score - copy) / gap
