"""Gap recovery: how much of what *copy* loses against *frame* a method gets back."""

import math


def gap_recovery(score: float, frame: float, copy: float) -> float:
    """Share of the gap between copy and frame that a method closes.

    ``(mAP - mAP_copy) / (mAP_frame - mAP_copy)``: 0 for copy itself, 1 for frame, below 0 for a
    method worse than copy, above 1 for one better than frame.

    Args:
        score: mAP of the method.
        frame: mAP of the image detector on every frame, in the same unit.
        copy: mAP of key-frame features kept unchanged, in the same unit.

    Returns:
        The share; NaN where there is no gap to recover: copy is as good as frame or better, or a
        figure is NaN. A table shows it as ``-``; the videos are then too easy, or the interval too
        short, to say anything.
    """
    gap = frame - copy
    if math.isnan(gap) or gap <= 0:
        return math.nan
    return (score - copy) / gap
