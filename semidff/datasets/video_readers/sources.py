"""Inputs that can be opened as videos, and reading ahead."""

import contextvars
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from semidff.utils.video_writer import is_storable

from . import ArrayStream, FrameStream, open_stream
from .stream import DEFAULT_FPS

T = TypeVar('T')

READ_AHEAD = 4
"""Default number of frames that are read ahead from files and lists."""

MAX_READ_AHEAD = 128
"""Largest number of frames that are read ahead, since they are kept in memory."""

_WANTED = (
    'give the path of a video file or of a folder of frames, the index of a camera, a list or an '
    'iterator of arrays (H, W, 3), or a list of them'
)


class Source(NamedTuple):
    """A video that can be opened.

    Attributes:
        open: Opens it.
        path: The video file or the folder of frames, if it is one.
        depth: Default number of frames that are read ahead; 0 for cameras and iterators, where the time of
            reading matters.
    """

    open: Callable[[], FrameStream]
    path: str | None = None
    depth: int = 0


def check_limits(fps: float | None, max_frames: int | None, pred_score_thr: float = 0) -> None:
    """Raise a ValueError if a frame rate, a number of frames or a threshold is impossible; None is possible."""
    if max_frames is not None and max_frames < 1:
        raise ValueError(f'max_frames is {max_frames}; it must be at least 1')
    if fps is not None and not is_storable(fps):
        raise ValueError(f'fps is {fps}; it must be from 0.001 to 65535')
    if not 0 <= pred_score_thr <= 1:
        raise ValueError(f'pred_score_thr is {pred_score_thr}; it must be from 0 to 1')


def sources_of(inputs: Any, fps: float | None = None, strict: bool = False) -> list[Source]:
    """Return the videos of an input. Paths are opened once to check them.

    Args:
        inputs: A path, a camera index, an address, an iterable of arrays (one video), or a list or tuple of
            them (several videos).
        fps: Frame rate of videos whose rate is unknown.
        strict: Whether unreadable frames are an error, not a warning.

    Raises:
        VideoError: A path cannot be opened.
        TypeError: The input is not a video.
    """
    # A list of frames, even an empty one, is one video.
    if not isinstance(inputs, list | tuple) or not inputs or _is_frame(inputs[0]):
        inputs = [inputs]
    return [_source(one, fps or DEFAULT_FPS, strict, n) for n, one in enumerate(inputs)]


def prefetch(items: Iterator[T], depth: int) -> Iterator[T]:
    """Yield the items of an iterator, which a thread computes up to ``depth`` ahead.

    Items and order are unchanged; an exception of the iterator is raised at its position. Closing or dropping
    this iterator closes the other one and ends the thread, after the item in progress. Nothing runs before
    the first item is requested.

    Args:
        depth: Maximum number of items that wait; 0: no thread, each item is computed on request.
    """
    if depth == 0:
        yield from items
        return
    end = object()
    # a copy of the caller's context: context variables, such as warning filters, hold in the thread too
    compute = contextvars.copy_context().run, next, items, end
    thread = ThreadPoolExecutor(1, 'read-ahead')
    try:
        waiting = deque(thread.submit(*compute) for _ in range(depth))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(*compute))
            yield item
    finally:
        thread.shutdown(cancel_futures=True)
        if hasattr(items, 'close'):
            items.close()


def _is_frame(given: Any) -> bool:
    return isinstance(given, np.ndarray) and given.ndim < 4


def _source(given: Any, fps: float, strict: bool, number: int) -> Source:
    if isinstance(given, bool) or given is None:
        raise TypeError(f'{given!r} is no video; {_WANTED}')
    if isinstance(given, int) or '://' in str(given)[:16]:
        return Source(lambda: open_stream(given, fps, strict))
    if isinstance(given, str | os.PathLike):
        open_stream(given, fps, strict).close()
        return Source(
            lambda: open_stream(Path(given), fps, strict), os.fspath(given), depth=READ_AHEAD
        )
    if not isinstance(given, Iterable) or _is_frame(given):
        raise TypeError(f'a single {type(given).__name__} is no video; {_WANTED}')
    name = f'frames{number}' if number else 'frames'
    depth = READ_AHEAD if isinstance(given, list | tuple | np.ndarray) else 0
    return Source(lambda: ArrayStream(given, name, fps), depth=depth)
