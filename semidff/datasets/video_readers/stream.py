"""Frames of a video one after the other, in constant memory.

Detection reads a video once, from its first frame to its last; training (:class:`VideoReader`)
jumps. Video files are read through OpenCV here: over 10,000 frames of 192 x 256 its memory stays
level (7 MB) where decord's grows to 58 MB, and it takes half of decord's CPU time.
"""

import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from .base import VideoError
from .frame_folder import FrameFolderReader, read_image

DEFAULT_FPS = 25.0
"""Frames per second of sources that do not tell theirs."""


class VideoWarning(UserWarning):
    """Something of a video could not be read; the rest is used."""


class Frame(NamedTuple):
    """A frame of a stream.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        index: Its number in the video, from 0. Frames of a folder that cannot be read have one, too.
        timestamp: Seconds since the first frame.
        path: Its image file, where it has one of its own.
    """

    image: np.ndarray
    index: int
    timestamp: float
    path: str | None = None


class FrameStream(Protocol):
    """A video that is read once, frame by frame.

    Attributes:
        name: What to call the video.
        length: Number of frames as far as known, for progress.
    """

    name: str
    length: int | None

    def __iter__(self) -> Iterator[Frame]:
        """The frames.

        Raises:
            VideoError: Not a single frame can be read; with ``strict``, any frame cannot.
        """

    def mean_rate(self) -> float | None:
        """Mean frames per second; None if unknown."""

    def close(self) -> None:
        """Frees decoder and device."""


class FolderStream:
    """A folder of images, in natural order of their names; images that cannot be read are left out.

    Args:
        path (str | Path): The folder.
        fps (float): Frames per second, for the time stamps.
        strict (bool): Whether an unreadable image is an error, not a warning.

    Raises:
        VideoError: The folder is missing or holds no images.
    """

    def __init__(self, path: str | Path, fps: float = DEFAULT_FPS, strict: bool = False) -> None:
        self.files = FrameFolderReader(path).files
        self.path = str(path)
        self.name = Path(os.path.abspath(path)).name
        self.length = len(self.files)
        self.fps = fps
        self.strict = strict

    def __iter__(self) -> Iterator[Frame]:
        """See :class:`FrameStream`."""
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

    def mean_rate(self) -> float:
        """See :class:`FrameStream`."""
        return self.fps

    def close(self) -> None:
        """Nothing is held open."""


class ArrayStream:
    """Frames that are in memory, or made by an iterator.

    Args:
        frames (Iterable[ndarray]): See :func:`as_bgr`. What the iterator raises reaches the caller.
        name (str): What to call the video.
        fps (float): Frames per second, for the time stamps.
    """

    def __init__(
        self, frames: Iterable[np.ndarray], name: str = 'frames', fps: float = DEFAULT_FPS
    ) -> None:
        self.frames = frames
        self.name = name
        self.length = len(frames) if hasattr(frames, '__len__') else None
        self.fps = fps

    def __iter__(self) -> Iterator[Frame]:
        """See :class:`FrameStream`."""
        index = -1
        for index, array in enumerate(self.frames):
            yield Frame(as_bgr(array, self.name, index), index, index / self.fps)
        if index < 0:
            raise VideoError(self.name, 'there are no frames in it')

    def mean_rate(self) -> float:
        """See :class:`FrameStream`."""
        return self.fps

    def close(self) -> None:
        """Nothing is held open."""


def as_bgr(array: np.ndarray, name: str, index: int) -> np.ndarray:
    """A frame as the networks want it; a copy, because cameras' libraries reuse their buffers.

    Args:
        array (ndarray): uint8: BGR (H, W, 3), BGR with alpha (H, W, 4), of which alpha is dropped,
            or gray (H, W) or (H, W, 1).
        name (str): The video's name, for messages.
        index (int): The frame's number, for messages.

    Returns:
        ndarray: (H, W, 3) uint8, BGR.

    Raises:
        VideoError: It is none of these.
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
    """Says that something cannot be read.

    Args:
        path (str): The file at fault.
        reason (str): What is wrong with it, and what follows.
        strict (bool): Whether it is an error.

    Raises:
        VideoError: With ``strict``; else it is a :class:`VideoWarning`.
    """
    if strict:
        raise VideoError(path, reason)
    warnings.warn(f'{path}: {reason}', VideoWarning, stacklevel=2)
