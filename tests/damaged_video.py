"""Small video files: intact, trimmed and damaged."""

import struct
from pathlib import Path

import cv2
import numpy as np

SIZE = (64, 48)  # width, height


def picture(index: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return a smooth picture whose blue channel encodes the frame number, with a red left half."""
    image = np.full((size[1], size[0], 3), 60, np.uint8)
    image[..., 0] = 8 * index % 256
    image[:, : size[0] // 2, 2] = 200
    return image


def write_video(path: Path, length: int = 30, fps: float = 10, size=SIZE, codec='mp4v') -> Path:
    """Write a video of :func:`picture`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, size)
    assert writer.isOpened()
    for index in range(length):
        writer.write(picture(index, size))
    writer.release()
    return path


def trim(path: Path, source: Path, start: float, length: int, fps: int = 10) -> Path:
    """Write an mp4 whose edit list shows a part of its frames, as trimming without decoding does."""
    data = bytearray(source.read_bytes())
    (unit,) = struct.unpack_from('>I', data, data.find(b'mvhd') + 16)
    (ticks,) = struct.unpack_from('>I', data, data.find(b'mdhd') + 16)
    at = data.find(b'elst') + 12
    (first,) = struct.unpack_from('>i', data, at + 4)
    struct.pack_into('>Ii', data, at, length * unit // fps, first + round(start * ticks / fps))
    path.write_bytes(data)
    return path


def wipe(path: Path, source: Path, start: float = 0.5, end: float = 1.0) -> Path:
    """Write an mp4 with a part of its frame data replaced by zeros."""
    data = source.read_bytes()
    first, last = data.find(b'mdat') + 4, data.find(b'moov') - 4
    low, high = (first + int(share * (last - first)) for share in (start, end))
    path.write_bytes(data[:low] + bytes(high - low) + data[high:])
    return path


def cut(path: Path, source: Path, share: float) -> Path:
    """Write the beginning of a file, like an interrupted copy."""
    data = source.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path
