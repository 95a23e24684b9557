"""Decoding of a video track: frame numbers, joined recordings and the reach of damage."""

from collections import deque
from collections.abc import Iterator, Set
from fractions import Fraction
from heapq import heappop, heappush
from itertools import chain, islice
from typing import NamedTuple

import av

from .base import VideoError, as_video_error

_JUMP = -1.0  # seconds: a smaller step back, unless a key frame follows, is a wrong time stamp
_UNREFERENCED = {'h264', 'mpeg1video', 'mpeg2video', 'mpeg4'}  # mark frames that no other refers to
_PROBED = 8  # frames that are decoded to see whether they correspond to packets
_DELAY = 64  # packets that decoders hold back, at most


class Note(NamedTuple):
    """What is noted of a packet.

    Attributes:
        number: Number of the packet in the file.
        part: Number of the recording, of those that were joined. Each has a clock of its own.
        time: Time stamp of its frame; None if it has none.
        is_key: Whether decoding can begin with it.
        is_shown: Whether its frame is shown.
    """

    number: int
    part: int
    time: int | None
    is_key: bool
    is_shown: bool

    @property
    def place(self) -> tuple[int, int]:
        """Place in the order of the frames."""
        return self.part, self.time


class Start(NamedTuple):
    """A key frame: numbers of its packet, frame and recording; its time stamp."""

    packet: int = 0
    frame: int = 0
    part: int = 0
    time: int | None = None  # of the beginning of the file


class Notes:
    """Notes the packets of a track, in order of decoding.

    Attributes:
        end: Time at which the last frame ends so far.
    """

    def __init__(self, unit: Fraction, codec: str, start: Start) -> None:
        self.end = 0
        self._unit, self._codec = float(unit), codec
        self._number, self._part, self._last = start.packet, start.part, None

    def __call__(self, packet: av.Packet) -> Note:
        decoded, is_key = packet.dts, packet.is_keyframe
        if decoded is not None:
            if self._last is not None:
                step = (decoded - self._last) * self._unit
                self._part += (step <= 0 and is_key) or step < _JUMP
            self._last = decoded
        time = packet.pts
        last = decoded if time is None else time
        if last is not None:
            self.end = max(self.end, last + (packet.duration or 0))
        is_shown = not packet.is_discard
        if self._codec == 'vp8':  # some frames are only referred to
            is_shown &= bool(memoryview(packet)[0] >> 4 & 1)
        note = Note(self._number, self._part, time, is_key, is_shown)
        self._number += 1
        return note


class Damage:
    """Stretches of packets from a damaged one to the next key frame."""

    def __init__(self) -> None:
        self._stretches: list[tuple[int, int]] = []  # first and last damaged packet
        self._keys: deque[Note] = deque()
        self._last: Note | None = None

    def note(self, note: Note, is_marked: bool) -> None:
        """Take the next packet. FFmpeg marks the packet ahead of the damaged one: both count."""
        if self._last and note.part != self._last.part:  # the mark is that of the joint
            self._stretches = [(one, min(last, self._last.number)) for one, last in self._stretches]
        if note.is_key:
            self._keys.append(note)
        if is_marked:
            self.add(note.number, note.number + 1)
        self._last = note

    @property
    def is_known(self) -> bool:
        return bool(self._stretches)

    def add(self, first: int, last: int | None = None) -> None:
        self._stretches.append((first, first if last is None else last))

    def reaches(self, note: Note) -> bool:
        """Return whether damage may reach the next frame."""
        while len(self._keys) > 1 and self._keys[1].number < note.number - _DELAY:
            self._keys.popleft()
        self._stretches = [one for one in self._stretches if not self._is_over(one, note)]
        return any(first <= note.number for first, _ in self._stretches)

    def _is_over(self, stretch: tuple[int, int], note: Note) -> bool:
        end = next((key for key in self._keys if key.number > stretch[1]), None)
        if end is None or note.number < end.number:
            return False
        # What precedes the key frame in the order of the frames may refer to damaged ones.
        return None in (end.time, note.time) or note.place >= end.place


class Decoding:
    """Decodes packets from a key frame on, and numbers the frames.

    The number of a frame is that of the packets whose frames are shown before it: frames that
    cannot be decoded are counted, too. Where packets do not state the order of their frames (AVI
    and ASF with B-frames, raw streams), and where the first frames do not correspond to the first
    packets, the frames that the decoder returns are counted.

    Args:
        start: Where decoding begins; what precedes it in the order of the frames is left out.
        keep_damaged: Whether frames that damage may have reached are returned, too.

    Attributes:
        is_counted: Whether the frames are counted.
        is_timed: Whether the time stamps of packets are those of their frames.
        first: Place of the first frame; None before it is known, and where frames are counted.
        next: Number of the next frame; in the end, of all frames.
        errors: Number of packets that cannot be decoded.
        damaged: Number of frames that are returned though they may be damaged.
    """

    def __init__(
        self, context: av.VideoCodecContext, start: Start, keep_damaged: bool, path: str
    ) -> None:
        self._context, self._keep, self._path = context, keep_damaged, path
        context.copy_opaque = True  # frames come with the notes of their packets
        self.next, self._first_frame = start.frame, start.frame
        self.first = None if start.time is None else (start.part, start.time)
        self._waiting: list[tuple[tuple[int, int], int]] = []  # places and numbers of packets
        self._damage = Damage()
        self.is_counted, self.is_timed, self.errors, self.damaged = False, True, 0, 0
        self.want(frozenset())

    def want(self, packets: Set[int]) -> None:
        """Ask for the frames of packets alone: others, ahead of the last one, are decoded if a
        frame refers to them.

        Without packets, all frames are asked for.
        """
        self._wanted, self._last_wanted = packets, max(packets, default=-1)

    def frames(
        self, packets: Iterator[tuple[av.Packet, Note]]
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield undamaged frames and their numbers; the note of a frame is its ``opaque``."""
        decoded = self._decode(packets)
        if self.first is None:
            first = list(islice(decoded, _PROBED))
            self._choose([frame.opaque for frame in first])
            decoded = chain(first, decoded)
        for frame in decoded:
            number, note = self._number(frame.opaque), frame.opaque
            if number is None:
                continue
            if note and frame.is_corrupt:
                self._damage.add(note.number)
            if note and self._damage.reaches(note):
                self.damaged += self._keep
                if not self._keep:
                    continue
            yield number, frame
        self.next += 0 if self.is_counted else len(self._waiting)

    def _decode(self, packets: Iterator[tuple[av.Packet, Note]]) -> Iterator[av.VideoFrame]:
        context, last = self._context, 0
        may_skip = context.name in _UNREFERENCED
        for packet, note in chain(packets, [(None, None)]):
            if note:
                packet.opaque = note
                self._damage.note(note, packet.is_corrupt)
                if not self.is_counted and self._is_expected(note):
                    heappush(self._waiting, (note.place, note.number))
                last = note.number
            if may_skip and self.first is not None:
                needed = not note or note.number > self._last_wanted or note.number in self._wanted
                context.skip_frame = 'DEFAULT' if needed else 'NONREF'
            try:
                with as_video_error(self._path):
                    frames = context.decode(packet)
            except VideoError:
                self.errors += 1
                self._damage.add(last)
            else:
                yield from frames

    def _is_expected(self, note: Note) -> bool:
        """Return whether the frame of a packet is numbered by its place."""
        has_place = note.is_shown and note.time is not None
        return has_place and (self.first is None or note.place >= self.first)

    def _choose(self, notes: list[Note | None]) -> None:
        """Choose how frames are numbered, by the notes of the first frames."""
        places = [note.place for note in notes if note and note.time is not None]
        self.is_timed = len(places) == len(notes) and sorted(set(places)) == places
        self.is_counted = not self.is_timed
        if not self.is_counted and notes:
            waiting = sorted(one for one in self._waiting if one[0] >= places[0])
            same = [place for place, _ in waiting[: len(places)]] == places
            self.is_counted = not (same or self._damage.is_known)
            self.first, self._waiting = places[0], waiting  # sorted: a heap
        if self.is_counted:
            self.first, self._waiting = None, []

    def _number(self, note: Note | None) -> int | None:
        """Return the number of the next frame; None if it is not shown or comes too late."""
        if not self.is_counted and note and note.time is not None:
            own = note.place, note.number
            while self._waiting and self._waiting[0] < own:
                place, left_out = heappop(self._waiting)
                is_wanted = not self._wanted or self.next == self._first_frame
                if is_wanted and not self._damage.reaches(Note(left_out, *place, False, True)):
                    self._damage.add(left_out)
                self.next += 1
            if not self._waiting or self._waiting[0] != own:
                return None
            heappop(self._waiting)
        self.next += 1
        return self.next - 1
