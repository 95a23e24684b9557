"""Inputs that can be opened as videos: files, folders, cameras, addresses and arrays; reading ahead."""

import contextvars
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np

from semidff.utils.video_writer import is_storable

from .base import DEFAULT_FPS, Frame, FrameStream, VideoError, report
from .pool import open_video

T = TypeVar('T')

READ_AHEAD = 4
"""Default number of frames that are read ahead from files and lists."""

_WANTED = (
    'give the path of a video file or of a folder of frames, the index of a camera, a list or an '
    'iterator of arrays (H, W, 3), or a list of them'
)


class CameraStream(FrameStream):
    """Frames of a camera until it stops, read by OpenCV, which opens cameras by number on every system.

    Time stamps are those of the device or the stream, relative to the first frame. If they do not
    increase, they are replaced by the time of arrival.

    Args:
        source: Index of a local camera, or an address (``rtsp://...``).
        strict: Whether the end of the stream is an error instead of a warning.

    Raises:
        VideoError: If it cannot be opened.
    """

    length = None

    def __init__(self, source: int | str, strict: bool = False) -> None:
        if isinstance(source, int):
            self.name, self.path = f'camera{source}', f'camera {source}'
        else:
            self.path = re.sub(r'//[^/]*@', '//', str(source))  # Do not show passwords.
            last = self.path.split('?')[0].rstrip('/').rpartition('/')[2]
            self.name = next(iter(re.findall(r'[\w-]+', last)), 'stream')
        self.strict = strict
        self._capture = cv2.VideoCapture(source)
        if not self._capture.isOpened():
            raise VideoError(self.path, 'cannot be opened; is it there, and free?')

    def mean_rate(self) -> float | None:
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        return fps if 0 < fps <= 1000 else None  # some sources report the rate of their clock

    def __iter__(self) -> Iterator[Frame]:
        index, first, start, last = 0, 0.0, time.monotonic(), 0.0
        while True:
            read, image = self._capture.read()
            if not read:
                break
            stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            first = first if index else stamp
            now = stamp - first
            if index and now <= last:
                now = max(time.monotonic() - start, last)
            last = now
            yield Frame(image, index, now)
            index += 1
        if not index:
            raise VideoError(self.path, 'gives no frames')
        report(self.path, f'no more frames after frame {index - 1}', self.strict)

    def close(self) -> None:
        self._capture.release()


class ArrayStream(FrameStream):
    """Frames in memory or from an iterator, whose exceptions are not caught; see :func:`as_bgr`."""

    def __init__(
        self, frames: Iterable[np.ndarray], name: str = 'frames', fps: float = DEFAULT_FPS
    ) -> None:
        self.frames = frames
        self.name = name
        self.length = len(frames) if hasattr(frames, '__len__') else None
        self.fps = fps

    def __iter__(self) -> Iterator[Frame]:
        index = -1
        for index, array in enumerate(self.frames):
            yield Frame(as_bgr(array, self.name, index), index, index / self.fps)
        if index < 0:
            raise VideoError(self.name, 'there are no frames in it')


def as_bgr(array: np.ndarray, name: str, index: int) -> np.ndarray:
    """Convert a frame to (H, W, 3) uint8 BGR; always a copy, because camera libraries reuse buffers.

    Args:
        array: uint8 array, BGR (H, W, 3), BGR with alpha (H, W, 4), or gray (H, W) or (H, W, 1).
        name: Name of the video, for messages, like ``index``, the number of the frame.

    Raises:
        VideoError: If it is none of these.
    """
    wanted = 'give numpy arrays of uint8: (H, W, 3) BGR, (H, W, 4) BGR with alpha, or (H, W) gray'
    if not isinstance(array, np.ndarray):
        raise VideoError(name, f'frame {index} is a {type(array).__name__}; {wanted}')
    if array.dtype != np.uint8:
        raise VideoError(name, f'frame {index} is of {array.dtype}; {wanted}')
    channels = 1 if array.ndim == 2 else array.shape[-1]
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or not array.size:
        raise VideoError(name, f'frame {index} has the shape {array.shape}; {wanted}')
    if channels == 1:
        gray = np.ascontiguousarray(array.reshape(array.shape[:2]))
        return cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)
    return array[..., :3].copy()


def open_stream(
    source: int | str | Path, fps: float = DEFAULT_FPS, strict: bool = False
) -> FrameStream:
    """Open a video for sequential access.

    Args:
        source: A video file, a folder of images, a camera's index or an address (``rtsp://...``).
        fps: Frames per second of a folder of images.
        strict: Whether unreadable frames are an error instead of a warning.

    Raises:
        VideoError: If it is none of them, or cannot be opened.
    """
    if isinstance(source, int) or '://' in str(source):
        return CameraStream(source, strict)
    return open_video(source, fps, strict)


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
    """Return the videos of an input; paths must exist, and are not opened yet.

    Args:
        inputs: A path, a camera index, an address, an iterable of arrays (one video), or a list or tuple of
            them (several videos).
        fps: Frame rate of videos whose rate is unknown.
        strict: Whether unreadable frames are an error, not a warning.

    Raises:
        VideoError: A path does not exist.
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
        path = os.fspath(given)
        if not os.path.exists(path):
            raise VideoError(path, 'no such file')
        return Source(lambda: open_stream(path, fps, strict), path, depth=READ_AHEAD)
    if not isinstance(given, Iterable) or _is_frame(given):
        raise TypeError(f'a single {type(given).__name__} is no video; {_WANTED}')
    name = f'frames{number}' if number else 'frames'
    depth = READ_AHEAD if isinstance(given, list | tuple | np.ndarray) else 0
    return Source(lambda: ArrayStream(given, name, fps), depth=depth)
