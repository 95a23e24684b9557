"""Video files, decoded by PyAV (FFmpeg), by frame number and in order.

Frame *i* is the *i*-th frame that the decoder returns when it decodes a file from its beginning.
Sequential access reads no more than it returns. For random access, the packets of the video track
are read once, without decoding: they give the number of frames and the key frames at which decoding
can begin. After a seek, packets are compared with those of that pass; if they differ, decoding
begins earlier, at last at the beginning. Files whose packets do not state the order of their frames
are always decoded from the beginning.

Damage is what FFmpeg reports: an error, a packet or frame that it marks as corrupt, or a frame that
it leaves out. The frames that may refer to damaged ones, up to the next key frame, are counted, but
left out unless they are asked for.
"""

import os
import re
from array import array
from collections import deque
from collections.abc import Iterator
from functools import cached_property
from itertools import chain
from math import inf
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from .base import (
    DEFAULT_FPS,
    Frame,
    VideoError,
    VideoReader,
    as_video_error,
    is_image,
    report,
)
from .decoding import Decoding, Note, Notes, Start
from .upright import Converter, Shape

av.logging.set_level(av.logging.PANIC)  # otherwise FFmpeg prints a line for each damaged macroblock

# Left out: formats that open other files, and those that take text for pictures.
_NO_VIDEOS = {
    'adf', 'ass', 'bin', 'concat', 'dash', 'hls', 'idf', 'image2', 'imf', 'lavfi', 'rtsp', 'sdp',
    'srt', 'tty',
    'webm_dash_manifest', 'webvtt', 'xbin',
}  # fmt: skip
_FORMATS = ','.join(sorted(av.formats_available - _NO_VIDEOS))
_MPEG = {'mpegts', 'mpeg'}  # seeking by time may end inside a group of pictures, and clocks wrap
_STEPS_BACK = 4  # key frames that are tried before the beginning of the file
_KEY_DISTANCE = 12  # packets from one key frame that is kept to the next, at least
_UNTIMED = -(2**63)
_LONGEST_PAUSE = 2**32 / 90_000  # seconds, half of the range of MPEG's clocks: more is another one


class Index(NamedTuple):
    """What the first pass over a file found: about 8 bytes a frame.

    Attributes:
        shape: Shape of the frames.
        packets: (P,) hashes of the packets, in order of decoding.
        order: (N,) numbers of the frames' packets; None where frames can only be counted.
        starts: (S, 5) key frames: the fields of a :class:`Start`, and where to seek.
    """

    length: int
    damage: str
    shape: Shape
    packets: np.ndarray = np.zeros(0)
    order: np.ndarray | None = None
    starts: np.ndarray = np.zeros((0, 5), np.int64)

    @property
    def nbytes(self) -> int:
        return sum(one.nbytes for one in (self.packets, self.order, self.starts) if one is not None)


class VideoFile(VideoReader):
    """Video file with random and sequential access, one at a time.

    Frames are as players show them: turned and mirrored by the display matrix, without those that
    an edit list hides, with square pixels (the width changes), with the colors that the file's
    matrix and range state (BT.601 where it states none), all in the size of the first one. Where
    recordings were joined whose clocks differ, time goes on.

    Args:
        strict: Whether damage is an error instead of a warning in sequential access. In random
            access it always is.
        threads: Number of the decoder's threads. With several, the frames of damaged files may
            depend on timing.
        keep_damaged: Whether frames that damage may have reached are used, too, as far as FFmpeg
            returns them.

    Attributes:
        index: What random access needs to know of the file; can be set to that of an earlier
            reader.
    """

    def __init__(
        self, path: str | Path, strict: bool = False, threads: int = 1, keep_damaged: bool = False
    ) -> None:
        self.path, self.name, self.strict = str(path), Path(path).stem, strict
        self._threads, self._keep_damaged = threads, keep_damaged
        if not os.path.isfile(self.path):
            raise VideoError(self.path, 'no such file')
        if is_image(self.path):
            raise VideoError(self.path, 'is a single image; list the folder that holds the frames')
        self._convert = Converter()
        self._shape: Shape | None = None  # of the frames
        self._wanted: frozenset[int] = frozenset()
        self._open()
        self._rewind()

    def _open(self) -> None:
        path = os.path.abspath(self.path)  # FFmpeg takes what precedes a colon for a protocol
        with as_video_error(self.path, 'not a readable video, or truncated'):
            self._container = av.open(
                path, options={'format_whitelist': _FORMATS}, metadata_errors='replace'
            )
            streams = self._container.streams
            tracks = [t for t in streams.video if not t.disposition & t.disposition.attached_pic]
            if not tracks:
                raise VideoError(self.path, 'not a readable video: there is no video track')
            self._track = streams.best('video') if streams.best('video') in tracks else tracks[0]
            if self._track.codec_context is None:
                raise VideoError(self.path, 'FFmpeg has no decoder for its codec')
            self._track.codec_context.thread_count = self._threads
            self._track.codec_context.thread_type = 'AUTO'
            self.fps = float(self._track.average_rate or self._track.guessed_rate or DEFAULT_FPS)
        self._is_new, self._error = True, ''

    def _begin(self, start: Start, packets: Iterator[tuple[av.Packet, Note]]) -> None:
        """Go on with the frames of these packets."""
        context = self._track.codec_context
        self._decoding = Decoding(context, start, self._keep_damaged, self.path)
        self._decoding.want(self._wanted)
        self._frames, self._last = self._decoding.frames(packets), -1

    def _rewind(self) -> None:
        """Go on at the beginning of the file."""
        if not self._is_new:
            self._container.close()
            self._open()
        self._begin(Start(), self._noted(self._demux(), Start()))

    def close(self) -> None:
        self._container.close()

    @cached_property
    def index(self) -> Index:
        self._rewind()
        times, hashes, parts = array('q'), array('I'), array('I')
        hidden, keys, marked = [], [], []

        def recorded() -> Iterator[tuple[av.Packet, Note]]:
            for packet, note in self._noted(self._demux(), Start()):
                is_damaged = marked[-1:] == [(note.part, note.number - 1)] or packet.is_corrupt
                times.append(_UNTIMED if note.time is None else note.time)
                hashes.append(_hash(packet))
                parts.append(note.part)
                if packet.is_corrupt:
                    marked.append((note.part, note.number))
                if not note.is_shown:
                    hidden.append(note.number)
                is_far = not keys or note.number >= keys[-1][0] + _KEY_DISTANCE
                if note.is_key and is_far and not is_damaged:
                    keys.append((note.number, self._place(packet)))
                yield packet, note

        packets = recorded()
        self._begin(Start(), packets)
        if (first := next(self._frames, None)) is None:
            raise VideoError(self.path, 'not a single frame can be decoded')
        self._shape = self._shape_of(first[1])
        deque(packets, 0)  # the others are not decoded
        times, parts = np.array(times), np.array(parts, np.int64)
        if self._decoding.is_counted or (times == _UNTIMED).any():
            return self._counted()
        part, time = self._decoding.first
        is_shown = (parts > part) | ((parts == part) & (times >= time))
        is_shown[hidden] = False
        order = np.lexsort((times, parts))
        order = order[is_shown[order]]
        ranks = np.full(len(times), -1)
        ranks[order] = np.arange(len(order))
        starts = [(n, ranks[n], parts[n], times[n], place) for n, place in keys if ranks[n] >= 0]
        damage = self._missing() or (f'{len(marked)} of its packets are damaged' if marked else '')
        return Index(
            len(order),
            damage,
            self._shape,
            np.array(hashes),
            order.astype(np.uint32),
            np.array(starts, np.int64).reshape(-1, 5),
        )

    def _counted(self) -> Index:
        """Decode the whole file, to count its frames."""
        self._rewind()
        deque(self._frames, 0)
        errors = self._decoding.errors
        damage = f'{errors} of its packets cannot be decoded' if errors else self._missing()
        return Index(self._decoding.next, damage, self._shape)

    def _place(self, packet: av.Packet) -> int:
        """Return where to seek for a packet."""
        name = self._container.format.name
        if name in _MPEG:
            return packet.pos or 0
        # Matroska and Ogg seek by the time of presentation, others by that of decoding.
        by_pts = name.startswith(('matroska', 'ogg')) or packet.dts is None
        return (packet.pts if by_pts else packet.dts) or 0

    def _missing(self) -> str:
        """Return what is missing of the file, once it has been read to its end."""
        if self._error:
            return f'its end {self._error}'
        return 'its end is missing' if self._lacks_end() else ''

    def _lacks_end(self) -> bool:
        """Return whether the file ends before the stated length of the video track."""
        entries, size = self._track.index_entries, os.path.getsize(self.path)
        if len(entries) and entries[-1].pos + entries[-1].size > size:
            return True
        stated, name = None, self._container.format.name
        if name == 'avi' and self._track.duration:
            stated = float(self._track.duration * self._track.time_base)
        elif name.startswith(('matroska', 'flv')):  # others state nothing, or have an index
            tag = self._track.metadata.get('DURATION', '')
            if found := re.fullmatch(r'(\d+):(\d+):(\d+\.\d+)', tag):
                stated = 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3])
            elif len(self._container.streams) == 1 and self._container.duration:
                stated = self._container.duration / av.time_base
        end = float(self._notes.end * self._track.time_base)
        return stated is not None and end < stated - 1.5 / self.fps

    def _demux(self) -> Iterator[av.Packet]:
        """Yield packets up to the end, or to the first one that cannot be read."""
        self._is_new = False
        try:
            with as_video_error(self.path):
                yield from (packet for packet in self._container.demux(self._track) if packet.size)
        except VideoError as error:
            # PyAV raises IndexError behind the last packet if other tracks began later.
            self._error = '' if isinstance(error.__cause__, IndexError) else error.reason

    def _noted(
        self, packets: Iterator[av.Packet], start: Start
    ) -> Iterator[tuple[av.Packet, Note]]:
        self._notes = Notes(self._track.time_base, self._track.codec_context.name, start)
        for packet in packets:
            yield packet, self._notes(packet)

    def _go_to(self, start: np.ndarray | None) -> bool:
        """Decode from a key frame or the beginning; return whether the container leads there."""
        if start is None:
            self._rewind()
            return True
        *fields, place = start.tolist()
        start, is_position = Start(*fields), self._container.format.name in _MPEG
        try:
            with as_video_error(self.path):
                self._container.seek(place, stream=self._track, unsupported_byte_offset=is_position)
        except VideoError:
            return False
        packets, expected = self._demux(), self.index.packets[start.packet :]
        for packet in packets:
            if _hash(packet) == expected[0]:
                same = _while_equal(chain([packet], packets), expected)
                self._begin(start, self._noted(same, start))
                return True
            if packet.is_keyframe and packet.pts is not None and packet.pts > start.time:
                break
        return False

    def __len__(self) -> int:
        with as_video_error(self.path):
            return self.index.length

    @property
    def length(self) -> int | None:
        """Number of frames: before random access, what the container states."""
        if 'index' in self.__dict__:
            return len(self)
        track, whole = self._track, self._container.duration
        seconds = (
            track.duration * track.time_base if track.duration else (whole or 0) / av.time_base
        )
        return max(round(seconds * self.fps), 0) or None

    @property
    def damage(self) -> str:
        with as_video_error(self.path):
            return self.index.damage

    def _read(self, wanted: list[int]) -> list[np.ndarray]:
        if self.index.order is not None:
            self._wanted = frozenset(self.index.order[wanted].tolist())
        self._decoding.want(self._wanted)
        try:
            return [self._frame(number) for number in wanted]
        finally:
            self._wanted = frozenset()
            self._decoding.want(self._wanted)

    def _approaches(self, number: int) -> Iterator[None]:
        """Go to the places from which decoding may reach a frame, one after the other."""
        starts = self.index.starts
        before = int(np.searchsorted(starts[:, 1], number, side='right'))
        nearest = starts[before - 1, 1] if before else 0
        if nearest <= self._last < number:
            yield
        for start in (*starts[max(before - _STEPS_BACK, 0) : before][::-1], None):
            if self._go_to(start):
                yield

    def _frame(self, number: int) -> np.ndarray:
        for _ in self._approaches(number):
            for found, frame in self._frames:
                self._last = found
                if found == number:
                    return self._image(frame)
                if found > number:
                    break
            if self._decoding.errors:
                break
        raise VideoError(self.path, f'frame {number} cannot be decoded: damaged')

    def __iter__(self) -> Iterator[Frame]:
        self._rewind()
        count, last, gap = 0, None, None
        with as_video_error(self.path):
            for number, frame, time, is_joined in self._timed():
                gap = count if gap is None and number > count else gap
                is_long, lost = self._lost_since(last, number)
                count, last = count + 1, number
                yield Frame(
                    self._image(frame), number, time, None, is_joined or is_long or None, lost
                )
            missing = self._missing()
        if not count:
            raise VideoError(self.path, 'not a single frame can be decoded')
        decoding = self._decoding
        if lost := decoding.next - count:
            gap = count if gap is None else gap
            text = f'{lost} frames are damaged and left out, the first of them is frame {gap}'
            report(self.path, text, self.strict)
        if decoding.damaged:
            report(self.path, f'{decoding.damaged} frames may be damaged and are used', self.strict)
        if missing:
            report(self.path, f'{missing}; {count} frames are used', self.strict)

    def _timed(self) -> Iterator[tuple[int, av.VideoFrame, float, bool]]:
        """Yield number, frame, time, and whether a joined recording begins."""
        unit, time, part, first, begin = float(self._track.time_base), -1 / self.fps, None, 0, 0.0
        longest = _LONGEST_PAUSE if self._container.format.name in _MPEG else inf
        for number, frame in self._frames:
            note, is_joined = frame.opaque, False
            if not self._decoding.is_timed or note is None or note.time is None:
                time = number / self.fps
            else:
                if part is None:  # the first frames may be damaged
                    part, first = self._decoding.first or note.place
                before, time = time, begin + (note.time - first) * unit
                is_joined = note.part != part or time - before > longest
                if is_joined:
                    part, first, begin = note.part, note.time, before + 1 / self.fps
                if is_joined or time <= before:
                    time = before + 1 / self.fps
            yield number, frame, time, is_joined

    @property
    def size(self) -> tuple[int, int]:
        with as_video_error(self.path):
            (width, height), is_transposed, _ = self.index.shape
        return (width, height) if is_transposed else (height, width)

    def _image(self, frame: av.VideoFrame) -> np.ndarray:
        if self._shape is None:
            known = self.__dict__.get('index')
            self._shape = known.shape if known else self._shape_of(frame)
        return self._convert(frame, self._shape)

    def _shape_of(self, first: av.VideoFrame) -> Shape:
        return Shape.of(first, self._track.sample_aspect_ratio)


def _hash(packet: av.Packet) -> int:
    return hash((packet.pts, packet.size)) & 0xFFFFFFFF


def _while_equal(packets: Iterator[av.Packet], expected: np.ndarray) -> Iterator[av.Packet]:
    """Yield packets as long as they have these hashes."""
    for packet, same in zip(packets, expected, strict=False):
        if _hash(packet) != same:
            return
        yield packet
