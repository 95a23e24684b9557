"""Distributions of the interval from key frame to current frame of training pairs (semi-DFF 3.3).

The key frame precedes the current frame by the drawn number of frames. :func:`choose_pair` draws
such a pair in a video.
"""

import numpy as np
from mmdet.registry import TASK_UTILS


@TASK_UTILS.register_module()
class UniformInterval:
    """Uniform distribution of intervals from ``low`` to ``high`` frames, both inclusive.

    The authors use 1..9 in the regression step and 0..9, with same-frame pairs, in the semantic
    step.
    """

    def __init__(self, low: int = 1, high: int = 9) -> None:
        self.low, self.high = low, high

    def draw(self, rng: np.random.Generator) -> int:
        return int(rng.integers(self.low, self.high + 1))


def choose_pair(
    rng: np.random.Generator, interval, start: int, stop: int, clip: bool = False
) -> tuple[int, int]:
    """Draw a (key, current) pair of frame numbers with the current frame in ``[start, stop)``.

    By default the current frame is drawn from those whose predecessor at the drawn interval exists,
    so the interval keeps its distribution; if none exists in the window, the key frame is frame 0.
    The authors' rule (``clip``) draws the current frame first and clips the number of the key frame
    to 0, which shortens the intervals at a video's start. Frame 0 is then its own key frame in a
    distribution with interval 0, as in the authors' semantic step, and is replaced by frame 1 in
    others, which have no same-frame pairs, as in their regression step.

    Args:
        interval: Distribution with ``draw(rng)`` and the smallest interval ``low``.
        start: First possible current frame.
        stop: Frame after the last possible one; ``start < stop <= video length``, and the video has
            two frames or more.

    Returns:
        Key frame and current frame, 0-based, ``key <= current``.
    """
    distance = interval.draw(rng)
    first = start if clip else max(start, min(distance, stop - 1))
    current = int(rng.integers(first, stop))
    if interval.low > 0:
        current = max(current, 1)
    return max(current - distance, 0), current
