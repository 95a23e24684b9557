"""Videos of every container, whole, made by code: with OpenCV's encoders, and by hand where it has none."""

import struct
from pathlib import Path

import cv2
import numpy as np

from tests.damaged_video import write_video

CODECS = {
    'mp4': 'mp4v', 'mov': 'mp4v', 'mkv': 'mp4v', 'webm': 'VP80', 'avi': 'MJPG', 'flv': 'FLV1', 'ts': 'MPG2',
    'mpg': 'MPG2', 'm2v': 'MPG2',
}  # fmt: skip
FRAMES = 30


def write(path: Path, size: tuple[int, int] = (96, 64), codec: str | None = None) -> Path:
    """Write a video of 30 frames; the suffix chooses the container."""
    kind = path.suffix[1:]
    if kind == 'h264':
        path.write_bytes(h264(FRAMES, size))
        return path
    return write_video(path, FRAMES, 25, size, codec or CODECS[kind])


class Bits:
    """Writer of bits, with Exp-Golomb codes."""

    def __init__(self) -> None:
        self.bits = ''

    def u(self, count: int, value: int) -> 'Bits':
        self.bits += f'{value:0{count}b}'
        return self

    def ue(self, *values: int) -> 'Bits':
        for value in values:
            code = f'{value + 1:b}'
            self.bits += '0' * (len(code) - 1) + code
        return self

    def se(self, value: int) -> 'Bits':
        return self.ue(2 * value - 1 if value > 0 else -2 * value)

    def align(self) -> 'Bits':
        self.bits += '0' * (-len(self.bits) % 8)
        return self

    def raw(self, data: bytes) -> 'Bits':
        self.bits += ''.join(f'{byte:08b}' for byte in data)
        return self

    def unit(self, header: int) -> bytes:
        """Return the NAL unit with its stop bit and emulation prevention."""
        bits = self.bits + '1'
        bits += '0' * (-len(bits) % 8)
        data = int(bits, 2).to_bytes(len(bits) // 8, 'big')
        escaped, zeros = bytearray([header]), 0
        for byte in data:
            if zeros >= 2 and byte <= 3:
                escaped.append(3)
                zeros = 0
            escaped.append(byte)
            zeros = zeros + 1 if byte == 0 else 0
        return b'\0\0\0\1' + bytes(escaped)


def h264(frames: int, size: tuple[int, int]) -> bytes:
    """Return an H.264 stream of pictures without prediction (I_PCM macroblocks), each of one brightness."""
    width, height = (side // 16 for side in size)
    sps = Bits().u(8, 66).u(8, 0).u(8, 30).ue(0, 0, 2, 0).u(1, 0).ue(width - 1, height - 1)
    sps.u(1, 1).u(1, 1).u(1, 0).u(1, 0)  # frames only, direct 8 x 8, no cropping, no VUI
    pps = Bits().ue(0, 0).u(2, 0).ue(0, 0, 0).u(1, 0).u(2, 0).se(0).se(0).se(0).u(3, 0)
    data = bytearray()
    for number in range(frames):
        # first macroblock, I slice, parameter set, frame number 0, IDR number, two flags, quantizer
        slice_ = Bits().ue(0, 7, 0).u(4, 0).ue(number % 2).u(2, 0).se(0)
        block = bytes([40 + 5 * number] * 256 + [128] * 128)
        for _ in range(width * height):
            slice_.ue(25).align().raw(block)
        data += sps.unit(0x67) + pps.unit(0x68) + slice_.unit(0x65)
    return bytes(data)


def box(kind: bytes, *content: bytes) -> bytes:
    data = b''.join(content)
    return struct.pack('>I', 8 + len(data)) + kind + data


def fragmented(path: Path, source: Path, per_fragment: int = 5, index: bool = False) -> Path:
    """Write an mp4 as a fragmented one, with or without the index of fragments at its end."""
    data = source.read_bytes()
    moov = _find(data, b'moov')
    capture = cv2.VideoCapture(str(source), cv2.CAP_FFMPEG)
    capture.set(cv2.CAP_PROP_FORMAT, -1)
    packets = []
    while capture.grab():
        packets.append(capture.retrieve()[1].tobytes())
    tables = {b'stts': bytes(8), b'stsc': bytes(8), b'stsz': bytes(12), b'stco': bytes(8)}
    stbl = box(b'stbl', _box(moov, b'stsd'), *(box(kind, zeros) for kind, zeros in tables.items()))
    media = box(b'minf', _box(moov, b'vmhd'), _box(moov, b'dinf'), stbl)
    mdia = box(b'mdia', _box(moov, b'mdhd'), _box(moov, b'hdlr'), media)
    scale = struct.unpack('>I', _find(moov, b'mdhd')[12:16])[0]
    mvex = box(b'mvex', box(b'trex', struct.pack('>6I', 0, 1, 1, scale // 25, 0, 0)))
    out = box(b'ftyp', b'isom\0\0\2\0isomiso5')
    out += box(b'moov', _box(moov, b'mvhd'), box(b'trak', _box(moov, b'tkhd'), mdia), mvex)
    places = []
    for number, first in enumerate(range(0, len(packets), per_fragment)):
        part = packets[first : first + per_fragment]
        flags = [0x2000000 if n + first == 0 else 0x1010000 for n in range(len(part))]
        rows = b''.join(struct.pack('>II', len(p), f) for p, f in zip(part, flags, strict=True))
        head = box(b'tfhd', struct.pack('>II', 0x20000, 1))
        time = box(b'tfdt', struct.pack('>IQ', 1 << 24, first * (scale // 25)))
        size = 8 + 16 + 8 + len(head) + len(time) + 20 + len(rows)
        run = box(b'trun', struct.pack('>IIi', 0x601, len(part), size + 8), rows)
        moof = box(
            b'moof', box(b'mfhd', struct.pack('>II', 0, number + 1)), box(b'traf', head, time, run)
        )
        assert len(moof) == size, (len(moof), size)
        places.append((first * (scale // 25), len(out)))
        out += moof + box(b'mdat', *part)
    if index:
        rows = b''.join(struct.pack('>QQBBB', *place, 1, 1, 1) for place in places)
        tfra = box(b'tfra', struct.pack('>4I', 1 << 24, 1, 0, len(places)), rows)
        out += box(b'mfra', tfra, box(b'mfro', struct.pack('>II', 0, 8 + len(tfra) + 16)))
    path.write_bytes(out)
    return path


def _find(data: bytes, kind: bytes) -> bytes:
    """Return the content of the first box of a kind."""
    return _box(data, kind)[8:]


def _box(data: bytes, kind: bytes) -> bytes:
    at = data.find(kind) - 4
    return data[at : at + struct.unpack_from('>I', data, at)[0]]


def noise(seed: int, size: tuple[int, int] = (32, 24)) -> np.ndarray:
    """Return a picture of noise, (H, W, 3)."""
    return np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), np.uint8)
