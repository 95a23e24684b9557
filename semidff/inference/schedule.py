"""The stage that divides a video into key, light and tracked frames."""

import copy
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from statistics import median

from semidff.datasets.video_readers import Frame
from semidff.datasets.video_readers.base import Trail

KEY, LIGHT, TRACKED = 'key', 'light', 'tracked'

_LEAST = 2.0  # seconds of a gap
_STEPS = 5  # usual steps of a gap
_KNOWN = 30  # last steps, whose median is the usual step


class FrameTimes:
    """Time stamps of the frames that a source delivers, in seconds, and the gaps among them.

    Gaps are where a recorder paused, a camera was lost, frames are missing, or recordings were
    joined: a step of more than 2 s and of more than 5 usual steps (the median of the last 30), or a
    step back.
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


class KeyFrameSchedule(ABC):
    """Decides, causally and frame by frame, which frames are key frames.

    Each stream has a deep copy of the schedule, which may remember frames. The first frame of a
    stream, the first frame of another size and the frame after a cut or a gap in time are always
    key frames (``frame.begins_scene``).
    """

    longest: float = math.inf  # frames from one key frame to the next, at most

    @abstractmethod
    def is_key(self, frame: Frame, distance: int) -> bool:
        """Return whether a frame, at a distance from the last key frame, is a key frame.

        It is not called for frames that begin a scene. ``frame.number`` counts the frames of the
        stream, from 0.
        """

    def is_cut(self, frame: Frame) -> bool:
        """Return whether a frame begins another scene; called ahead of :meth:`is_key`."""
        return False

    def note_key(self, frame: Frame) -> None:  # noqa: B027 (optional)
        """Take a key frame; called for every one."""


def schedule(
    frames: Iterable[Frame],
    rule: KeyFrameSchedule,
    light_every: int = 1,
    may_be_key: Callable[[], bool] = lambda: True,
) -> Iterator[Frame]:
    """Set ``kind``, ``key``, ``number``, ``begins_scene`` and ``trail`` of a stream's frames.

    A frame of another size than the one before, after a gap in time (see :class:`FrameTimes`), or
    after a scene cut that the rule finds, begins a new scene.

    Args:
        light_every: Non-key frames at multiples of this distance from their key frame, or the next
            ones if these were dropped, are light frames; the others are tracked. 0: all are
            tracked.
        may_be_key: Called for each frame; without it, key frames begin scenes only.
    """
    rule, times = copy.deepcopy(rule), FrameTimes()
    key, size, number, distance, trail = None, None, -1, 0, None
    for frame in frames:
        step = 1 + frame.dropped
        number += step if key else 1
        frame.number, before = number, distance
        distance += step if key else 0
        is_free = may_be_key()
        is_other = times.push(frame.timestamp, frame.after_gap, frame.dropped)
        is_other |= frame.size != size
        size = frame.size
        frame.begins_scene = key is None or is_other or rule.is_cut(frame)
        frame.trail = Trail(number, frame.picture)
        if trail and not frame.begins_scene:
            trail.next = frame.trail
        trail = frame.trail
        if frame.begins_scene or (is_free and rule.is_key(frame, distance)):
            frame.kind, distance = KEY, 0
            if not frame.begins_scene:
                key.next = frame
            key = frame
            rule.note_key(frame)
        else:
            is_light = light_every and distance // light_every > before // light_every
            frame.kind, frame.key = LIGHT if is_light else TRACKED, key
        frame.sample.set_metainfo(dict(is_key_frame=frame.kind == KEY, frame_kind=frame.kind))
        yield frame
