"""Writes mp4 files."""

import os
from pathlib import Path

import cv2
import numpy as np


class VideoWriter:
    """Writes an mp4 file that is either complete or not there.

    Frames go to ``<name>.part.mp4``, which gets its name when the block ends without an error. Of frames
    with odd sides the last column or row is repeated: the format wants even sides.

    Args:
        path (str | Path): The file; folders are made.
        fps (float): Frames per second; the format keeps five digits of it.

    Example:
        >>> with VideoWriter('out.mp4', fps=10) as writer:
        ...     writer.write(frame_bgr)
    """

    def __init__(self, path: str | Path, fps: float = 10.0) -> None:
        if Path(path).suffix != '.mp4':
            raise ValueError(f'{path}: only .mp4 files are written; give a name that ends in .mp4')
        if not fps > 0:
            raise ValueError(f'fps is {fps}; it must be above 0')
        self.path = Path(path)
        self.fps = fps
        self._part = self.path.with_suffix('.part.mp4')
        self._writer: cv2.VideoWriter | None = None
        self._size: tuple[int, int] | None = None

    def __enter__(self) -> 'VideoWriter':
        return self

    def __exit__(self, error_type, error, traceback) -> None:
        self.close(keep=error_type is None)

    def write(self, frame: np.ndarray) -> None:
        """Adds a frame.

        Args:
            frame (ndarray): (H, W, 3) uint8, BGR; all frames of a video have one size.

        Raises:
            ValueError: If the size differs from the first frame's.
            OSError: If the file cannot be written.
        """
        size = (frame.shape[1], frame.shape[0])
        if self._writer is None:
            self._open(size)
        if size != self._size:
            raise ValueError(
                f'{self.path}: a frame of {size[0]}x{size[1]} in a video of '
                f'{self._size[0]}x{self._size[1]}; all frames of a video must have one size'
            )
        self._writer.write(_even(frame))

    def close(self, keep: bool = True) -> None:
        """Finishes the file, or removes what there is of it.

        Args:
            keep (bool): False removes the unfinished file.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        if keep:
            os.replace(self._part, self.path)
        else:
            self._part.unlink(missing_ok=True)

    def _open(self, size: tuple[int, int]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        code = cv2.VideoWriter_fourcc(*'mp4v')
        even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        self._writer = cv2.VideoWriter(str(self._part), code, _storable(self.fps), even)
        self._size = size
        if not self._writer.isOpened():
            self._writer = None
            raise OSError(f'{self.path}: cannot be written; check the folder and its free space')


def _even(frame: np.ndarray) -> np.ndarray:
    """A frame with even sides."""
    height, width = frame.shape[:2]
    if height % 2 or width % 2:
        return cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(frame)


def _storable(fps: float) -> float:
    """A frame rate as precise as MPEG-4 takes it: a fraction of numbers up to 65535."""
    rounded = (round(fps, digits) for digits in (3, 2, 1, 0) if fps * 10**digits <= 65535)
    return next(rounded, fps)
