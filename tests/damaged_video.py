"""Small video files: intact, trimmed and damaged."""

import struct
from pathlib import Path

import cv2
import numpy as np

from tests.encoded_video import encode

PACKET = 188  # bytes of a packet of transport streams
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
    """Write an mp4 whose edit list shows a part of its frames, like lossless trimming."""
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


def lose_packet(path: Path, source: Path, frame: int, after: int = 1) -> Path:
    """Write a transport stream that lacks a packet: of those of a frame the one with this number,
    as by radio.
    """
    data = source.read_bytes()
    packets = [data[at : at + PACKET] for at in range(0, len(data), PACKET)]
    video = [n for n, one in enumerate(packets) if (one[1] & 31) << 8 | one[2] == 256]
    begins = [place for place, n in enumerate(video) if packets[n][1] & 64]
    lost = video[begins[frame] + after]
    path.write_bytes(b''.join(packets[:lost] + packets[lost + 1 :]))
    return path


def write_damaged(folder: Path) -> set[str]:
    """Write six videos that are damaged in six ways; return their names."""
    whole = write_video(folder.parent / 'whole.mp4', size=(96, 64))
    (folder / 'text.mp4').write_text('no video' * 100)
    cut(folder / 'no_index.mp4', whole, 0.5)
    wipe(folder / 'wiped.mp4', whole, 0.3, 0.5)
    cut(folder / 'cut.mkv', encode(folder.parent / 'whole.mkv'), 0.6)
    lose_packet(folder / 'lossy.ts', encode(folder.parent / 'whole.ts', 'h264 no b'), 12)
    (folder / 'too_large').mkdir()
    image = bytearray(cv2.imencode('.png', picture(0))[1].tobytes())
    struct.pack_into('>II', image, 16, 2**17, 2**17)  # width, height
    (folder / 'too_large' / '0.png').write_bytes(image)
    return {'text.mp4', 'no_index.mp4', 'wiped.mp4', 'cut.mkv', 'lossy.ts', 'too_large'}
