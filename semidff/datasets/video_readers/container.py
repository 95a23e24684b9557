"""What video containers state about their own end, read without decoding.

FFmpeg plays a cut-off file to its last intact packet and reports nothing.
"""

import os
import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

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
        kind, _, length = _box_header(file, position)
        if len(kind) < 4:
            return True
        kinds.add(kind)
        if length == 0:  # up to the end of the file
            break
        if length < 8:
            return None
        position += length
    if position > size:
        return True
    # The end of a fragmented file is known only by its index of fragments.
    return None if b'moof' in kinds and b'mfra' not in kinds else False


def shown(times: np.ndarray, path: str | Path) -> np.ndarray:
    """Return which frames of a file its player shows.

    After trimming without decoding, an mp4 file still has the frames that others need for their decoding, and an edit
    list that hides them. FFmpeg sets the time of the first shown frame to 0, also if the list begins between two.

    Args:
        times: Time stamps in seconds; those of an mp4 file's hidden frames are negative, 0 or beyond its list's end.

    Returns:
        A mask of the same shape. Of files without edit list, and of lists of several parts, all frames are shown.
    """
    duration = edited_duration(path)
    if duration is None or len(times) < 2 or not np.any(times >= 0):
        return np.ones(len(times), bool)
    mask = times >= 0
    mask[np.flatnonzero(times == 0)[:-1]] = False  # OpenCV's times are not negative
    later, slack = times - times[mask].min(), 1.5e-3  # durations are rounded to milliseconds
    if np.ptp(later[mask]) and (not mask.all() or np.any(later >= duration - slack)):
        # By how much the list begins before its first frame is not known, but it is less than a frame: the last one may
        # be lost.
        duration -= np.median(np.diff(np.unique(later))) - 2 * slack
    return mask & (later < duration - slack)


def edited_duration(path: str | Path) -> float | None:
    """Return the duration of the one part that the edit list of an mp4 file's video shows, in seconds."""
    with open(path, 'rb') as file:
        if _read(file, 4, 4) != b'ftyp':
            return None
        for moov in _boxes(file, 0, os.path.getsize(path), b'moov'):
            header = [_read(file, at, 24) for at, _ in _boxes(file, *moov, b'mvhd')]
            for track in _boxes(file, *moov, b'trak'):
                kinds = [_read(file, at + 8, 4) for at, _ in _boxes(file, *track, b'mdia', b'hdlr')]
                edits = [_read(file, at, 168) for at, _ in _boxes(file, *track, b'edts', b'elst')]
                if kinds == [b'vide'] and edits and header:
                    return _only_edit(header[0], edits[0])
    return None


def _only_edit(header: bytes, edits: bytes) -> float | None:
    """Return the duration of the only edit in an edit list; empty ones, which delay the track, do not count."""
    try:
        (unit,) = struct.unpack_from('>I', header, 20 if header[0] else 12)
        (count,) = struct.unpack_from('>I', edits, 4)
        entry = struct.Struct('>QqI' if edits[0] else '>IiI')
        entries = [entry.unpack_from(edits, 8 + i * entry.size) for i in range(min(count, 9))]
    except struct.error:
        return None
    durations = [duration for duration, time, _ in entries if time >= 0]
    return durations[0] / unit if len(durations) == 1 and durations[0] and unit else None


def _boxes(file: BinaryIO, start: int, end: int, *kinds: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the contents of an mp4 file's boxes begin and end.

    Args:
        kinds: Kind of the boxes, after those of the boxes around them.
    """
    while start + 8 <= end:
        kind, skipped, length = _box_header(file, start)
        length = length or end - start
        if length < skipped:
            return
        content = start + skipped, min(start + length, end)
        if kind == kinds[0]:
            yield from _boxes(file, *content, *kinds[1:]) if kinds[1:] else [content]
        start += length


def _box_header(file: BinaryIO, start: int) -> tuple[bytes, int, int]:
    """Return kind, length of the header and length of a box, which is 0 if it ends with what is around it."""
    head = _read(file, start, 16)
    length = int.from_bytes(head[:4], 'big')
    if length == 1:
        return head[4:8], 16, int.from_bytes(head[8:], 'big')
    return head[4:8], 8, length


def _read(file: BinaryIO, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)


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
