"""Gaps in time: where a recorder paused, a camera was lost, frames are missing, or recordings were joined."""

from collections import deque
from statistics import median

_LEAST = 2.0  # seconds
_STEPS = 5  # usual ones
_KNOWN = 30  # last steps, whose median is the usual one


class FrameTimes:
    """Time stamps of the frames that a source delivers, in seconds, and the gaps among them.

    After a gap, nothing that was known of earlier frames holds. It is a step of more than 2 s and of more than 5 usual
    steps (the median of the last 30), or a step back.
    """

    def __init__(self) -> None:
        self._steps: deque[float] = deque(maxlen=_KNOWN)
        self._last: float | None = None
        self._seconds, self._count = 0.0, 0

    def push(self, time: float | None, after_gap: bool | None = None, dropped: int = 0) -> bool:
        """Take the next frame; return whether a gap precedes it.

        Args:
            time: None if it is unknown.
            after_gap: What the source says; None: as the time stamp tells.
            dropped: Number of frames that the source had and that were not pushed.
        """
        if time is None:
            return bool(after_gap)
        count = 1 + dropped
        step = 0.0 if self._last is None else (time - self._last) / count
        is_first, self._last = self._last is None, time
        if after_gap is None:
            is_long = step > _LEAST and self._steps and step > _STEPS * median(self._steps)
            after_gap = step < 0 or bool(is_long)
        if not is_first and step >= 0:
            self._steps.append(step)
            self._seconds += 0 if after_gap else step * count
            self._count += 0 if after_gap else count
        return after_gap

    @property
    def rate(self) -> float | None:
        """Mean frames per second without the gaps; None if unknown."""
        return round(self._count / self._seconds, 6) if self._seconds > 0 else None
