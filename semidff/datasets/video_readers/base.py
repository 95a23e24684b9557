"""Interfaces of video readers, and their error."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

_IMAGE_SUFFIXES = frozenset({'.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm'})
VIDEO_SUFFIXES = frozenset({
    '.3gp', '.avi', '.flv', '.m2ts', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.mts', '.ts', '.webm', '.wmv',
})  # fmt: skip
DEFAULT_FPS = 25.0
"""Frames per second of sources without a frame rate."""


class VideoError(Exception):
    """A video, or some of its frames, cannot be read."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(str(path), reason)
        self.path = str(path)
        self.reason = reason

    def __str__(self) -> str:
        return f'{self.path}: {self.reason}'


class VideoWarning(UserWarning):
    """A part of a video cannot be read; the rest is used."""


class Frame(NamedTuple):
    """A frame of a stream.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        index: Number in the video, from 0. Frames that cannot be read are counted, too.
        timestamp: Seconds since the first frame.
        path: Image file of the frame, if it has one.
        after_gap: Whether the source has left out something ahead of it; None: as the time stamps tell.
        dropped: Number of frames of a live source that were left out ahead of this one.
        arrival: When it came from a live source, by the clock of its stream.
    """

    image: np.ndarray
    index: int
    timestamp: float
    path: str | None = None
    after_gap: bool | None = None
    dropped: int = 0
    arrival: float | None = None


class FrameStream:
    """Video with sequential access to its frames.

    Attributes:
        length: Number of frames if known, about, for progress displays.
        fps: Frames per second, for the time stamps of streams that have none.
        path: The video file, the folder of frames, or the camera; None if it is neither.
        live: Whether the time of reading matters, as for cameras and iterators: nothing is read ahead.
        drops: Whether frames are dropped that come while earlier ones are processed.
    """

    name: str
    length: int | None
    fps: float
    path: str | None = None
    live: bool = False
    drops: bool = False

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over the frames; VideoError if none can be read, or with ``strict`` if any cannot."""
        raise NotImplementedError

    def ready(self, seconds: float | None = None) -> bool:
        """Wait until the next frame or the end can be read at once, for some seconds at most; return whether it can."""
        return True

    def close(self) -> None:
        """Release decoder and device, if there are any. The reader cannot be used afterwards."""


class VideoReader(FrameStream):
    """Video with random access to its frames, too.

    Attributes:
        damage: What is known to be missing in the video.
        size: Height and width of the frames.
    """

    path: str
    damage: str = ''
    size: tuple[int, int]

    def __len__(self) -> int:
        raise NotImplementedError

    def frames(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Return frames by their 0-based numbers, in any order, each (H, W, 3) uint8 BGR.

        Raises:
            VideoError: If a frame cannot be decoded or is not in the video.
        """
        wanted = sorted({int(index) for index in indices})
        if wanted and not 0 <= wanted[0] <= wanted[-1] < len(self):
            bad, last = wanted[0] if wanted[0] < 0 else wanted[-1], len(self) - 1
            raise VideoError(self.path, f'frame {bad} asked for, the video has frames 0..{last}')
        with as_video_error(self.path):
            by_index = dict(zip(wanted, self._read(wanted), strict=True))
        return [by_index[int(index)] for index in indices]

    def _read(self, wanted: list[int]) -> list[np.ndarray]:
        """Return frames by distinct numbers in ascending order."""
        raise NotImplementedError


@contextmanager
def as_video_error(path: str | Path, problem: str = 'cannot be read') -> Iterator[None]:
    """Turn whatever libraries raise for a file into its :class:`VideoError`, but for a lack of memory."""
    try:
        yield
    except (VideoError, MemoryError):
        raise
    except Exception as error:
        reason = getattr(error, 'strerror', None) or f'{type(error).__name__}: {error}'
        reason = 'timed out' if isinstance(error, av.error.ExitError) else reason  # by PyAV
        raise VideoError(path, f'{problem} ({reason})') from error


def report(path: str, reason: str, strict: bool) -> None:
    """Warn (:class:`VideoWarning`), or with ``strict`` raise :class:`VideoError`, that a file cannot be read."""
    if strict:
        raise VideoError(path, reason)
    warnings.warn(f'{path}: {reason}', VideoWarning, stacklevel=2)


def is_video(name: str) -> bool:
    """Return whether a file name is that of a video; hidden files are not."""
    return Path(name).suffix.lower() in VIDEO_SUFFIXES and not name.startswith('.')


def is_image(name: str) -> bool:
    """Return whether a file name is that of an image; hidden files are not."""
    path = Path(name)
    return not path.name.startswith('.') and path.suffix.lower() in _IMAGE_SUFFIXES
