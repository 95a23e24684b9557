"""Small video files: intact, unusual and damaged."""

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
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, size)
    assert writer.isOpened()
    for index in range(length):
        writer.write(picture(index, size))
    writer.release()
    return path


def write_odd(path: Path, length: int = 5) -> Path:
    """Write a video with odd sides, which OpenCV's FFmpeg writer would crop."""
    code = cv2.VideoWriter_fourcc(*'MJPG')
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, code, 10, (63, 47))
    for index in range(length):
        writer.write(picture(index, (63, 47)))
    writer.release()
    return path


def write_variable(path: Path, source: Path, ticks: list[int], fps: float = 30) -> Path:
    """Write the first frames of another video as an mkv with the times ``ticks / fps``."""
    reader = cv2.VideoCapture(str(source), cv2.CAP_FFMPEG)
    reader.set(cv2.CAP_PROP_FORMAT, -1)  # encoded packets
    code = cv2.VideoWriter_fourcc(*'mp4v')
    settings = [cv2.VIDEOWRITER_PROP_RAW_VIDEO, 1]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, fps, SIZE, settings)
    for tick in ticks:
        writer.set(cv2.VIDEOWRITER_PROP_PTS, tick)
        writer.write(reader.read()[1])
    writer.release()
    return path


def turn(path: Path, source: Path) -> Path:
    """Write an mp4 with the metadata of an upright phone: players rotate it by 90 degrees."""
    data = bytearray(source.read_bytes())
    at = data.find(b'tkhd') + 44
    one = 1 << 16
    data[at : at + 36] = struct.pack('>9i', 0, one, 0, -one, 0, 0, SIZE[1] * one, 0, 1 << 30)
    path.write_bytes(data)
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


def index_first(path: Path, source: Path) -> Path:
    """Write an mp4 with its index before the frames, which can be opened even if truncated."""
    data = source.read_bytes()
    media, index = data.find(b'mdat') - 4, data.find(b'moov') - 4
    moov = bytearray(data[index:])
    table = moov.find(b'stco') + 8
    (chunks,) = struct.unpack_from('>I', moov, table)
    for at in range(table + 4, table + 4 + 4 * chunks, 4):
        struct.pack_into('>I', moov, at, struct.unpack_from('>I', moov, at)[0] + len(moov))
    path.write_bytes(data[:media] + bytes(moov) + data[media:index])
    return path
