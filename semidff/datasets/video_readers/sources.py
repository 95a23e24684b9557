"""Opening of video files, folders, cameras, addresses and arrays; reading ahead."""

import contextvars
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from .base import DEFAULT_FPS, Frame, FrameStream, VideoError, as_video_error, is_image
from .frame_folder import FrameFolder, matching_files
from .live import LiveOptions, LiveStream
from .video_file import VideoFile

T = TypeVar('T')

READ_AHEAD = 4
"""Default number of frames that are read ahead, but from live streams."""

_WANTED = (
    'give the path of a video file or of a folder of frames, a glob, the index of a camera, a '
    'list or an iterator of arrays (H, W, 3), or a list of them'
)


class ArrayStream(FrameStream):
    """Frames in memory or from an iterator, whose exceptions are not caught."""

    def __init__(
        self, frames: Iterable[np.ndarray], name: str = 'frames', fps: float = DEFAULT_FPS
    ) -> None:
        self.frames, self.name, self.fps = frames, name, fps
        self.length = len(frames) if hasattr(frames, '__len__') else None
        self.live = not isinstance(frames, list | tuple | np.ndarray)

    def __iter__(self) -> Iterator[Frame]:
        index = -1
        for index, array in enumerate(self.frames):
            yield Frame(self._as_bgr(array, index), index, index / self.fps)
        if index < 0:
            raise VideoError(self.name, 'there are no frames in it')

    def _as_bgr(self, array: np.ndarray, index: int) -> np.ndarray:
        """Convert a frame to (H, W, 3) uint8 BGR; a copy, since camera libraries reuse buffers."""
        is_array = isinstance(array, np.ndarray)
        shape = array.shape if is_array and array.dtype == np.uint8 else ()
        if len(shape) == 2 or (len(shape) == 3 and shape[2] == 1):
            return cv2.cvtColor(np.ascontiguousarray(array.reshape(shape[:2])), cv2.COLOR_GRAY2BGR)
        if len(shape) == 3 and shape[2] in (3, 4):
            return array[..., :3].copy()
        given = f'of {array.dtype} {array.shape}' if is_array else f'a {type(array).__name__}'
        raise VideoError(
            self.name,
            f'frame {index} is {given}; give numpy arrays of uint8: (H, W, 3) BGR, (H, W, 4) BGR '
            'with alpha, or (H, W) gray',
        )


def open_video(
    path: str | Path,
    fps: float = DEFAULT_FPS,
    strict: bool = False,
    decoder_threads: int = 1,
    keep_damaged: bool = False,
) -> VideoFile | FrameFolder:
    """Open a video file, or images: a folder, a glob or a pattern; for random and sequential
    access.

    Args:
        fps: Frames per second of a folder of images.
        strict: Whether unreadable frames are an error instead of a warning in sequential access.
        decoder_threads, keep_damaged: See :class:`VideoFile`.
    """
    with as_video_error(path):
        if os.path.isdir(path) or (not os.path.exists(path) and matching_files(path)):
            return FrameFolder(path, fps, strict)
        return VideoFile(path, strict, decoder_threads, keep_damaged)


def open_any(
    source: Any,
    fps: float | None = None,
    strict: bool = False,
    decoder_threads: int = 1,
    name: str = 'frames',
    keep_damaged: bool = False,
    live: LiveOptions | None = None,
) -> FrameStream:
    """Open a camera (its index), an address (``rtsp://...``, ``pipe:0``), a named pipe, a file,
    images, or arrays.

    Files and images are those of :func:`open_video`; arrays come from any iterable. A number in
    text is an index, unless a file has that name. An open stream is returned.

    Args:
        fps: Frame rate of videos whose rate is unknown; default: 25.
        name: Name of arrays.
        live: How cameras, addresses and pipes are read.
    """
    fps = fps or DEFAULT_FPS
    if isinstance(source, FrameStream):
        return source
    if (camera := camera_of(source)) is not None:
        return LiveStream(camera, strict, live)
    if isinstance(source, str | os.PathLike):
        return open_video(source, fps, strict, decoder_threads, keep_damaged)
    return ArrayStream(source, name, fps)


def camera_of(source: Any) -> int | str | None:
    """Return a camera index, an address or a named pipe; None for other sources."""
    if not isinstance(source, str):
        return source if isinstance(source, int) else None
    if source.isdecimal() and not os.path.exists(source):
        return int(source)
    is_live = re.match(r'[\w+.-]+://|pipe:', source) or Path(source).is_fifo()
    return source if is_live else None


def videos_of(inputs: Any) -> list[Any]:
    """Return the videos of an input, each for :func:`open_any`; paths must exist.

    A list or tuple is several videos, unless it has frames; so is a glob, unless all of its files
    are images.
    """
    # A list of frames, even an empty one, is one video.
    if not isinstance(inputs, list | tuple) or not inputs or _is_frame(inputs[0]):
        inputs = [inputs]
    videos: list[Any] = []
    for given in inputs:
        is_path = isinstance(given, str | os.PathLike)
        is_number = isinstance(given, int) and not isinstance(given, bool)
        if not (is_path or is_number or isinstance(given, Iterable)) or _is_frame(given):
            raise TypeError(f'a single {type(given).__name__} is no video; {_WANTED}')
        files = []
        if is_path and camera_of(given) is None and not os.path.exists(given):
            files = matching_files(given)
            if not files:
                raise VideoError(given, 'no such file')
        videos += [given] if all(map(is_image, files)) else files
    return videos


def prefetch(items: Iterator[T], depth: int) -> Iterator[T]:
    """Yield the items of an iterator, which a thread computes up to ``depth`` ahead.

    An exception of the iterator is raised at its position. Closing or dropping this iterator closes
    the other one and ends the thread, after the item in progress. Nothing runs before the first
    item is requested; without depth there is no thread.
    """
    if depth == 0:
        yield from items
        return
    end = object()
    # a copy of the caller's context: context variables, such as warning filters, hold in the thread
    # too
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
