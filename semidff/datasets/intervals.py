"""How far apart key frame and current frame of a training pair are (semi-DFF 3.3).

A distribution draws the interval, in frames, by which the key frame lies *before* the current one;
:func:`choose_pair` places such a pair in a video.
"""

from collections.abc import Sequence

import numpy as np
from mmdet.registry import TASK_UTILS


@TASK_UTILS.register_module()
class UniformInterval:
    """Every interval from ``low`` to ``high`` (both included) with the same probability.

    The authors' code: 1..9 in the regression step, 0..9 (same-frame pairs occur) in the semantic.

    Args:
        low (int): Smallest interval in frames, >= 0.
        high (int): Largest interval in frames, >= ``low``.
    """

    def __init__(self, low: int = 1, high: int = 9) -> None:
        if not 0 <= low <= high:
            raise ValueError(f'UniformInterval needs 0 <= low <= high, got {low} and {high}')
        self.low, self.high = low, high

    def draw(self, rng: np.random.Generator) -> int:
        """One interval in frames."""
        return int(rng.integers(self.low, self.high + 1))


@TASK_UTILS.register_module()
class FixedInterval:
    """Always the same interval.

    Args:
        interval (int): Frames between key frame and current frame, >= 0.
    """

    def __init__(self, interval: int) -> None:
        if interval < 0:
            raise ValueError(f'FixedInterval needs an interval >= 0, got {interval}')
        self.interval = interval

    def draw(self, rng: np.random.Generator) -> int:
        """The interval in frames; ``rng`` is not used."""
        return self.interval


@TASK_UTILS.register_module()
class WeightedInterval:
    """Interval ``low + i`` with probability proportional to ``weights[i]``.

    Args:
        weights (Sequence[float]): Non-negative weights, not all zero.
        low (int): The interval of the first weight, in frames.
    """

    def __init__(self, weights: Sequence[float], low: int = 1) -> None:
        values = np.asarray(weights, dtype=np.float64)
        if values.ndim != 1 or not np.isfinite(values).all() or (values < 0).any() or low < 0:
            raise ValueError(
                f'WeightedInterval needs non-negative weights and low >= 0, got {weights}, {low}'
            )
        if not values.sum() > 0:
            raise ValueError(f'WeightedInterval needs a weight above zero, got {weights}')
        self.low = low
        self.probabilities = values / values.sum()

    def draw(self, rng: np.random.Generator) -> int:
        """One interval in frames."""
        return self.low + int(rng.choice(len(self.probabilities), p=self.probabilities))


def choose_pair(
    rng: np.random.Generator, interval, start: int, stop: int, clip: bool = False
) -> tuple[int, int]:
    """A (key, current) pair of frame numbers with the current frame in ``[start, stop)``.

    By default the current frame is drawn among those that *have* a frame the drawn interval
    earlier, so the interval keeps its distribution; only where the whole window lies too near the
    video's start does the key frame become frame 0. With ``clip`` the authors' rule holds: the
    current frame is drawn first and the key frame's number is clipped to 0, which makes the
    intervals at a video's start shorter. In both, a pair whose interval was drawn above zero never
    becomes a same-frame pair: current frame 0 is replaced by frame 1, as in the authors' regression
    step.

    Args:
        rng (np.random.Generator): Source of randomness.
        interval: A distribution with ``draw(rng)``.
        start (int): First frame the current frame may be.
        stop (int): One after the last; ``max(start + 1, 2) <= stop <= video length``.
        clip (bool): The authors' rule.

    Returns:
        tuple[int, int]: Key frame and current frame, 0-based, ``key <= current``.
    """
    distance = interval.draw(rng)
    first = start if clip else max(start, min(distance, stop - 1))
    current = int(rng.integers(first, stop))
    if distance > 0:
        current = max(current, 1)
    return max(current - distance, 0), current
