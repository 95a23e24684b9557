"""Sequential reading of videos in constant memory.

Inference reads videos from the first to the last frame, with OpenCV. Over 10,000 frames of
192 x 256, OpenCV needs a constant 7 MB, while decord grows to 58 MB, and half of decord's CPU time.
"""

import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from .base import VideoError
from .frame_folder import FrameFolderReader, read_image

DEFAULT_FPS = 25.0
"""Frames per second of sources without a frame rate."""


class VideoWarning(UserWarning):
    """A part of a video cannot be read; the rest is used."""


class Frame(NamedTuple):
    """A frame of a stream.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        index: Number in the video, from 0. Unreadable frames of a folder are counted too.
        timestamp: Seconds since the first frame.
        path: Image file of the frame, if it has one.
    """

    image: np.ndarray
    index: int
    timestamp: float
    path: str | None = None


class FrameStream:
    """Video with sequential access to its frames.

    Attributes:
        length: Number of frames if known, for progress displays.
        fps: Frames per second, for the time stamps of streams that have none.
    """

    name: str
    length: int | None
    fps: float

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over the frames.

        Raises:
            VideoError: If no frame can be read; with ``strict``, if any frame cannot be read.
        """
        raise NotImplementedError

    def mean_rate(self) -> float | None:
        """Return the mean frames per second, None if unknown."""
        return self.fps

    def close(self) -> None:
        """Release decoder and device, if there are any."""


class FolderStream(FrameStream, FrameFolderReader):
    """Folder of images; unreadable images are skipped, with ``strict`` they are errors."""

    def __init__(self, path: str | Path, fps: float = DEFAULT_FPS, strict: bool = False) -> None:
        super().__init__(path)
        self.name = Path(os.path.abspath(path)).name
        self.length = len(self)
        self.fps, self.strict = fps, strict

    def __iter__(self) -> Iterator[Frame]:
        read = 0
        for index, file in enumerate(self.files):
            try:
                image = read_image(file)
            except VideoError as error:
                report(file, f'{error.reason}; frame {index} is left out', self.strict)
                continue
            read += 1
            yield Frame(image, index, index / self.fps, file)
        if not read:
            raise VideoError(self.path, f'none of its {self.length} images can be read')


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


def report(path: str, reason: str, strict: bool) -> None:
    """Warn (:class:`VideoWarning`), or with ``strict`` raise :class:`VideoError`, that a file cannot be read."""
    if strict:
        raise VideoError(path, reason)
    warnings.warn(f'{path}: {reason}', VideoWarning, stacklevel=2)
