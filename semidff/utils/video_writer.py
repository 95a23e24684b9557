"""Writing of mp4 files."""

from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import cv2
import numpy as np

from .atomic_write import atomic_path


class VideoWriter(AbstractContextManager):
    """Write an mp4 file that appears under its name only when it is complete.

    Used as a context manager, it removes the unfinished file if the block raises. Of frames with odd sides
    the last column or row is repeated, since the format requires even sides.

    Args:
        path: The file; missing parent folders are created.
        fps: Frames per second; the format stores five digits of it.

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
        self._writer: cv2.VideoWriter | None = None
        self._size: tuple[int, int] | None = None
        self._stack = ExitStack()

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)

    def write(self, frame: np.ndarray) -> None:
        """Add a frame.

        Args:
            frame: (H, W, 3) uint8, BGR; all frames of a video have one size.

        Raises:
            ValueError: The size differs from the first frame's.
            OSError: The file cannot be written.
        """
        height, width = size = frame.shape[:2]
        if self._writer is None:
            self._open(size)
            self._size = size
        if size != self._size:
            raise ValueError(
                f'{self.path}: a frame of {width}x{height} in a video of '
                f'{self._size[1]}x{self._size[0]}; all frames of a video must have one size'
            )
        if height % 2 or width % 2:
            frame = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        self._writer.write(np.ascontiguousarray(frame))

    def _open(self, size: tuple[int, int]) -> None:
        path = self._stack.enter_context(atomic_path(self.path))
        even = (size[1] + size[1] % 2, size[0] + size[0] % 2)
        code = cv2.VideoWriter_fourcc(*'mp4v')
        self._writer = cv2.VideoWriter(str(path), code, _storable(self.fps), even)
        self._stack.callback(self._writer.release)
        if not self._writer.isOpened():
            raise OSError(f'{self.path}: cannot be written; check the folder and its free space')


def _storable(fps: float) -> float:
    """Round a frame rate to what MPEG-4 can store: a fraction of numbers up to 65535."""
    rounded = (round(fps, digits) for digits in (3, 2, 1, 0) if fps * 10**digits <= 65535)
    return next(rounded, fps)
