"""What video containers state about their own end, read without decoding.

FFmpeg plays a cut-off file to its last intact packet and reports nothing.
"""

import os
import re
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

_SEGMENT = b'\x18\x53\x80\x67'  # of Matroska and WebM
_UNKNOWN_SIZE = b'\x01' + b'\xff' * 7
# Start codes and the bytes that have the size, by the code of the codec.
_HEADERS = {
    # sequence headers
    'mpg1': rb'\xb3(.{3})',
    'mpg2': rb'\xb3(.{3})',
    # video object layers
    'fmp4': rb'[\x20-\x2f](.*?)(?=\x00\x00\x01|$)',
    # sequence parameter sets
    'h264': rb'[\x27\x47\x67](.*?)(?=\x00\x00[\x00\x01]|$)',
    'hevc': rb'\x42\x01(.*?)(?=\x00\x00[\x00\x01]|$)',
}
_SAME = {'mp4v': 'fmp4', 'avc1': 'h264', 'hvc1': 'hevc', 'hev1': 'hevc', 'mpeg': 'mpg2'}


def end_is_missing(path: str | Path) -> bool | None:
    """Return whether a video file ends before the length that its container states.

    None where the format states no length (transport and program streams, raw streams, live recordings), so that a
    missing end cannot be known.
    """
    size = os.path.getsize(path)
    with open(path, 'rb') as file:
        head = file.read(1 << 16)
        if head[4:8] in (b'ftyp', b'moov', b'mdat', b'styp', b'moof', b'free', b'wide'):
            return _mp4_end_is_missing(file, size)
    if head[:4] == b'RIFF':
        return 8 + int.from_bytes(head[4:8], 'little') > size
    if head[:4] == b'\x1a\x45\xdf\xa3':
        return _segment_end_is_missing(head, size)
    if head[:3] == b'FLV':
        at = head.find(b'\0\x08filesize\0') + 11
        return struct.unpack('>d', head[at : at + 8])[0] > size if at > 10 else None
    return True if is_transport_stream(head) and size % 188 else None


def is_transport_stream(head: bytes) -> bool:
    return len(head) > 376 and head[0] == head[188] == head[376] == 0x47


def _mp4_end_is_missing(file: BinaryIO, size: int) -> bool | None:
    """Compare the sizes of the boxes of the top level with that of the file."""
    position, kinds = 0, set()
    while position < size:
        file.seek(position)
        head = file.read(16)
        if len(head) < 8:
            return True
        length, kinds = int.from_bytes(head[:4], 'big'), kinds | {head[4:8]}
        if length == 1:
            length = int.from_bytes(head[8:16], 'big')
        if length == 0:  # up to the end of the file
            break
        if length < 8:
            return None
        position += length
    if position > size:
        return True
    # The end of a fragmented file is known only by its index of fragments.
    return None if b'moof' in kinds and b'mfra' not in kinds else False


def _segment_end_is_missing(head: bytes, size: int) -> bool | None:
    at = head.find(_SEGMENT) + 4
    field = head[at : at + 8]
    if at < 4 or not field or not field[0] or field == _UNKNOWN_SIZE or field[0] == 0xFF:
        return None
    width = 9 - field[0].bit_length()
    length = int.from_bytes(field[:width], 'big') & ((1 << 7 * width) - 1)
    return at + width + length > size


def states_sizes_in_stream(path: str | Path) -> bool:
    """Return whether a file is a transport, program or raw stream, in which the size of the frames may change."""
    with open(path, 'rb') as file:
        head = file.read(512)
    return is_transport_stream(head) or head[:3] == b'\0\0\1' or head[:4] == b'\0\0\0\1'


def sequence_headers(packets: Iterable[bytes], codec: str) -> list[int]:
    """Return the numbers of the packets that change the size of the frames in a stream.

    Of MPEG-4 Part 2, H.264 and H.265, whose sizes are coded in variable length, all changes of the headers are
    returned; of other codecs than MPEG's, nothing is.

    Args:
        codec: Code of the codec (FourCC).
    """
    codec = codec.lower()
    pattern = _HEADERS.get(_SAME.get(codec, codec))
    if pattern is None:
        return []
    header = re.compile(rb'\x00\x00\x01' + pattern, re.DOTALL)
    changes, current = [], None
    for number, packet in enumerate(packets):
        for match in header.finditer(packet):
            if current not in (None, match[1]):
                changes.append(number)
            current = match[1]
    return changes
