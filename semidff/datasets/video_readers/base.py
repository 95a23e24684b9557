"""Interfaces of video readers, and their error."""

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from mmdet.structures import DetDataSample
from torch import Tensor

_LONGEST_LOSS = 2.0  # seconds of frames that cannot be read, behind which another scene begins
_IMAGE_SUFFIXES = frozenset({'.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm'})
VIDEO_SUFFIXES = frozenset({
    '.3gp', '.avi', '.flv', '.m2ts', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.mts',
    '.ts', '.webm', '.wmv',
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


@dataclass(eq=False)
class Trail:
    """The picture of a frame, from which those of the later frames of its scene are reached."""

    number: int
    picture: np.ndarray
    next: 'Trail | None' = None


@dataclass(eq=False)
class Frame:
    """A frame on its way from the source to the outputs.

    Readers set the first attributes, up to ``arrival``; each stage of :mod:`semidff.inference`
    fills in some more.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        index: Number in the video, from 0. Frames that cannot be read are counted, too.
        timestamp: Seconds since the first frame; None if unknown.
        path: Image file of the frame, if it has one.
        after_gap: Whether the source has left out something ahead of it; None: as the time stamps
            tell.
        dropped: Number of frames that the source left out ahead of this one: of a live source
            because earlier frames were processed, of files because they cannot be read.
        arrival: When it came from a live source, by the clock of its stream.
        inputs: Network input (3, h, w), until the frame is detected.
        sample: Its data sample; with the result, once the frame is detected.
        picture: Gray picture in which boxes are moved; None without filter.
        kind: ``key``, ``light`` (non-key frame on which the method detects) or ``tracked`` (non-key
            frame whose boxes come from the filter).
        key: Its key frame; None for a key frame itself.
        number: Number in the stream, by which distances are counted. Dropped frames count.
        begins_scene: Whether nothing before this frame affects it.
        trail: Its picture, linked to those of later frames, until the frame is handed on.
        windows: (n, 4) parts of the frame, xyxy, that the method has looked at; None: all.
        done: Completed with its result, while it is detected.
        seconds: Time of the detection, divided by the frames of the batch.
        next: Of a key frame, the next key frame of the scene, once there is one.
        features, detections: Of a key frame, what non-key frames need of it, by method.
    """

    image: Any
    index: int
    timestamp: float | None = None
    path: str | None = None
    after_gap: bool | None = None
    dropped: int = 0
    arrival: float | None = None
    inputs: Tensor | None = None
    sample: DetDataSample | None = None
    picture: np.ndarray | None = None
    kind: str = 'key'
    key: 'Frame | None' = None
    number: int = 0
    begins_scene: bool = False
    trail: Trail | None = None
    windows: np.ndarray | None = None
    done: Future | None = None
    seconds: float = 0.0
    next: 'Frame | None' = None
    features: Any = None
    detections: Any = None

    @property
    def position(self) -> int:
        """Distance to the key frame."""
        return self.number - self.key.number if self.key else 0

    @property
    def size(self) -> tuple:
        """Shape of the network input, and height and width of the frame."""
        return tuple(self.inputs.shape), tuple(self.sample.get('ori_shape', ()))

    def release(self) -> None:
        """Forget what the non-key frames of a key frame needed."""
        self.features = self.detections = self.next = None


class FrameStream:
    """Video with sequential access to its frames.

    Attributes:
        length: Number of frames if known, about, for progress displays.
        fps: Frames per second, for the time stamps of streams that have none.
        path: The video file, the folder of frames, or the camera; None if it is neither.
        live: Whether the time of reading matters, as for cameras and iterators: nothing is read
            ahead.
        drops: Whether frames are dropped that come while earlier ones are processed.
    """

    name: str
    length: int | None
    fps: float
    path: str | None = None
    live: bool = False
    drops: bool = False

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over the frames. With ``strict``, an unreadable frame is a VideoError."""
        raise NotImplementedError

    def ready(self, seconds: float | None = None) -> bool:
        """Wait for the next frame or the end, up to some seconds; return whether it has come."""
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

    def _lost_since(self, last: int | None, index: int) -> tuple[bool, int]:
        """Return whether a frame begins a scene because so many frames since the last one are lost,
        and their number.
        """
        lost = 0 if last is None else index - last - 1
        return lost / self.fps > _LONGEST_LOSS, lost

    def _read(self, wanted: list[int]) -> list[np.ndarray]:
        """Return frames by distinct numbers in ascending order."""
        raise NotImplementedError


@contextmanager
def as_video_error(path: str | Path, problem: str = 'cannot be read') -> Iterator[None]:
    """Turn errors of libraries, but a lack of memory, into a :class:`VideoError`."""
    try:
        yield
    except (VideoError, MemoryError):
        raise
    except Exception as error:
        reason = getattr(error, 'strerror', None) or f'{type(error).__name__}: {error}'
        reason = 'timed out' if isinstance(error, av.error.ExitError) else reason  # by PyAV
        raise VideoError(path, f'{problem} ({reason})') from error


def report(path: str, reason: str, strict: bool) -> None:
    """Warn that a file cannot be read, or with ``strict`` raise a :class:`VideoError`."""
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
