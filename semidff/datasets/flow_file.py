"""Reader of optical flow in Middlebury's .flo format."""

from pathlib import Path

import numpy as np


def read_flow(path: str | Path) -> np.ndarray:
    """Read an (H, W, 2) float32 flow in pixels, x first.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it does not start with 'PIEH', or its length does not match its size.
    """
    content = Path(path).read_bytes()
    if content[:4] != b'PIEH':
        raise ValueError(f'{path}: starts with {content[:4]!r}, a .flo file starts with b"PIEH"')
    width, height = np.frombuffer(content[:12].ljust(12, b'\0'), '<i4', 2, 4).tolist()
    expected = 12 + 8 * width * height
    if width < 1 or height < 1 or len(content) != expected:
        raise ValueError(
            f'{path}: {len(content)} bytes, but a flow of {height} x {width} has {expected}: '
            'copy the file again'
        )
    return np.frombuffer(content, '<f4', offset=12).reshape(height, width, 2).astype(np.float32)
