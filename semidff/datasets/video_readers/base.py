"""Interface of random-access video readers, and their error."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from semidff.utils.tool_files import FileError, check_regular

IMAGE_SUFFIXES = frozenset({'.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm'})


class VideoError(Exception):
    """A video, or some of its frames, cannot be read."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(str(path), reason)
        self.path = str(path)
        self.reason = reason

    def __str__(self) -> str:
        return f'{self.path}: {self.reason}'


class VideoReader:
    """Video with random access to its frames."""

    path: str

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
        by_index = dict(zip(wanted, self._read(wanted), strict=True))
        return [by_index[int(index)] for index in indices]

    def _read(self, wanted: list[int]) -> list[np.ndarray]:
        """Return frames by distinct numbers in ascending order."""
        raise NotImplementedError

    def close(self) -> None:
        """Release the decoder and its buffers, if any. The reader cannot be used afterwards."""


def is_image(name: str) -> bool:
    """Return whether a file name is that of an image; hidden files are not."""
    path = Path(name)
    return not path.name.startswith('.') and path.suffix.lower() in IMAGE_SUFFIXES


def check_video_file(path: str) -> None:
    """Raise :class:`VideoError` if a file is missing, empty or an image."""
    try:
        check_regular(path)
    except FileError as error:
        raise VideoError(path, str(error).removeprefix(f'{path}: ')) from None
    if not os.path.isfile(path):
        raise VideoError(path, 'no such file')
    if is_image(path):
        raise VideoError(path, 'is a single image; list the folder that holds the frames')
    if os.path.getsize(path) == 0:
        raise VideoError(path, 'the file is empty (0 bytes)')
