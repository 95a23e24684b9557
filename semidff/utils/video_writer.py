"""Writing of mp4 files."""

import os
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from .atomic_write import atomic_path


class VideoWriter(AbstractContextManager):
    """Write an mp4 file that appears under its name only when it is complete.

    Used as a context manager, it removes the unfinished file if the block raises. Of frames with odd sides the last
    column or row is repeated, since the format requires even sides. It stores five digits of the frame rate.

    Example:
        >>> with VideoWriter('out.mp4', fps=10) as writer:
        ...     writer.write(frame_bgr)
    """

    def __init__(self, path: str | Path, fps: float = 10.0) -> None:
        if not is_storable(fps):
            raise ValueError(f'{path}: fps is {fps}; an mp4 file can have from 0.001 to 65535')
        self.path, self.fps = Path(path), fps
        self._writer: cv2.VideoWriter | None = None
        self._written = 0
        self._stack = ExitStack()

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)

    def write(self, frame: np.ndarray) -> None:
        """Add a frame (H, W, 3) uint8 BGR; all frames of a video have one size."""
        height, width = frame.shape[:2]
        if self._writer is None:
            self._open(height, width)
        if height % 2 or width % 2:
            frame = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        self._writer.write(np.ascontiguousarray(frame))
        self._written += 1

    def _open(self, height: int, width: int) -> None:
        path = self._stack.enter_context(atomic_path(self.path))
        even = width + width % 2, height + height % 2
        code = cv2.VideoWriter_fourcc(*'mp4v')
        self._writer = cv2.VideoWriter(os.path.abspath(path), code, _rounded(self.fps), even)
        self._stack.push(partial(self._close, path))
        if not self._writer.isOpened():
            raise OSError(f'{self.path}: cannot be written; check the folder and its free space')

    def _close(self, path: Path, *error: object) -> None:
        """Close the file; check that it is complete, since OpenCV does not report a full disk."""
        self._writer.release()
        if error[0] is None and (found := count_packets(path)) != self._written:
            raise OSError(
                f'{self.path}: only {found} of {self._written} frames could be written; check the free space '
                'and the limit of file sizes'
            )


def count_packets(path: str | Path) -> int:
    """Return the number of frames in a video file, without decoding; 0 if it cannot be opened."""
    capture = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG)
    capture.set(cv2.CAP_PROP_FORMAT, -1)  # packets
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count


def is_storable(fps: float) -> bool:
    """Return whether an mp4 file can have a frame rate."""
    return 1e-3 <= fps <= 65535


def _rounded(fps: float) -> float:
    """Round a frame rate to what MPEG-4 can store: a fraction of numbers up to 65535."""
    rounded = (round(fps, digits) for digits in (3, 2, 1, 0) if fps * 10**digits <= 65535)
    return next(rounded, fps)
