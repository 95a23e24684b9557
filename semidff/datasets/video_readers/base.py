"""What a reader of frames is, and how it fails."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np


class VideoError(Exception):
    """A video, or some of its frames, cannot be read.

    Args:
        path (str | Path): The file at fault.
        reason (str): What is wrong with it.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(str(path), reason)
        self.path = str(path)
        self.reason = reason

    def __str__(self) -> str:
        return f'{self.path}: {self.reason}'


@runtime_checkable
class VideoReader(Protocol):
    """What the datasets and the inferencer need of a video."""

    path: str

    def __len__(self) -> int:
        """Number of frames."""

    def frames(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Frames ``indices`` (0-based, any order, repeats allowed), each (H, W, 3) uint8 BGR.

        Raises:
            VideoError: A frame cannot be decoded or is not in the video.
        """

    def close(self) -> None:
        """Frees the decoder and its buffers; the reader is useless afterwards."""


def ascending(path: str, indices: Sequence[int], length: int) -> list[int]:
    """The different ``indices`` in ascending order.

    Raises:
        VideoError: One is not in the video.
    """
    wanted = sorted({int(index) for index in indices})
    if wanted and not 0 <= wanted[0] <= wanted[-1] < length:
        bad = wanted[0] if wanted[0] < 0 else wanted[-1]
        raise VideoError(path, f'frame {bad} asked for, the video has frames 0..{length - 1}')
    return wanted


def check_video_file(path: str) -> None:
    """Raises :class:`VideoError` if there is no such file, or nothing in it."""
    if not os.path.isfile(path):
        raise VideoError(path, 'no such file')
    if os.path.getsize(path) == 0:
        raise VideoError(path, 'the file is empty (0 bytes)')
