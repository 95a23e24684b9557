"""Video files, decoded by PyAV (FFmpeg), by frame number and in order.

Frame *i* is the *i*-th frame that the decoder returns when it decodes a file from its beginning. The packets of the
video track, read once without decoding, give the time stamps of the frames and the key frames at which decoding can
begin. After a seek, packets and frames are compared with those of the first pass; if they differ, decoding begins
earlier, at last at the beginning. Files whose packets do not state the order of their frames (AVI and ASF with
B-frames, raw streams) are always decoded from the beginning.

Damage is what the decoder reports: an error, or a frame that it leaves out. The frames that may refer to damaged ones,
up to the next key frame, are left out, too, but counted. Damage that the decoder conceals is not noticed.
"""

import os
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from .base import DEFAULT_FPS, Frame, VideoError, VideoReader, is_image, report

av.logging.set_level(av.logging.PANIC)  # otherwise FFmpeg prints a line for each damaged macroblock

# Left out: formats that open other files, and those that take text for pictures.
_NO_VIDEOS = {
    'adf', 'ass', 'bin', 'concat', 'dash', 'hls', 'idf', 'image2', 'imf', 'lavfi', 'rtsp', 'sdp', 'srt', 'tty',
    'webm_dash_manifest', 'webvtt', 'xbin',
}  # fmt: skip
_FORMATS = ','.join(sorted(av.formats_available - _NO_VIDEOS))
_POSITIONED = {'mpegts', 'mpeg'}  # seeking by time may end inside a group of pictures
_UNREFERENCED = {'h264', 'mpeg1video', 'mpeg2video', 'mpeg4'}  # mark frames that no other refers to
_PROBED = 8  # frames that are decoded to see whether they correspond to packets
_NEVER = -(2**62)
_STEPS_BACK = 4  # key frames that are tried before the beginning of the file


class _Start(NamedTuple):
    """A key frame at which decoding can begin: numbers of its packet and frame, time and place to seek to."""

    packet: int
    frame: int
    time: int
    position: int


_BEGINNING = _Start(0, 0, 0, 0)


class _Index(NamedTuple):
    """What the first pass over a file found.

    Attributes:
        packets: (P, 2) time stamps and sizes of the packets of the video track, in order of decoding.
        times: (N,) time stamps of the frames; None where not all of them have one.
        order: (N,) numbers of the frames' packets; None where frames can only be counted.
        starts: Key frames, in order.
    """

    packets: np.ndarray
    length: int
    times: np.ndarray | None = None
    order: np.ndarray | None = None
    starts: Sequence[_Start] = ()
    damage: str = ''


class VideoFile(VideoReader):
    """Video file with random and sequential access, one at a time.

    Frames are as players show them: turned and mirrored by the display matrix, without those that an edit list hides,
    with square pixels (the width changes), with the colors that the file's matrix and range state (BT.601 where it
    states none), all in the size of the first one.

    Args:
        strict: Whether damage is an error instead of a warning in sequential access. In random access it always is.
        threads: Number of the decoder's threads. With several, the frames of damaged files may depend on timing.
    """

    def __init__(self, path: str | Path, strict: bool = False, threads: int = 1) -> None:
        self.path, self.name, self.strict = str(path), Path(path).stem, strict
        self._threads = threads
        if not os.path.isfile(self.path):
            raise VideoError(self.path, 'no such file')
        if is_image(self.path):
            raise VideoError(self.path, 'is a single image; list the folder that holds the frames')
        self._reformatter = VideoReformatter()
        self._wanted: set[int] = set()
        self._last_wanted = _NEVER
        self._open()
        self.fps = float(self._track.average_rate or self._track.guessed_rate or DEFAULT_FPS)

    def _open(self) -> None:
        path = os.path.abspath(self.path)  # FFmpeg takes what precedes a colon for a protocol
        try:
            self._container = av.open(path, options={'format_whitelist': _FORMATS})
        except (av.FFmpegError, ValueError) as error:  # ValueError: names that are not UTF-8
            reason = f'not a readable video, or truncated ({getattr(error, "strerror", error)})'
            raise VideoError(self.path, reason) from None
        streams = self._container.streams
        tracks = [t for t in streams.video if not t.disposition & t.disposition.attached_pic]
        if not tracks:
            raise VideoError(self.path, 'not a readable video: there is no video track')
        self._track = streams.best('video') if streams.best('video') in tracks else tracks[0]
        if self._track.codec_context is None:
            raise VideoError(self.path, 'FFmpeg has no decoder for its codec')
        self._track.codec_context.thread_count = self._threads
        self._track.codec_context.thread_type = 'AUTO'
        self._begin(iter(()))

    def _begin(self, frames: Iterator[tuple[int, av.VideoFrame]]) -> None:
        """Go on with other frames, which come with their numbers."""
        self._frames, self._last = frames, -1
        self._packet, self._errors, self._failed = 0, 0, []

    def close(self) -> None:
        self._container.close()

    @cached_property
    def _index(self) -> _Index:
        pts, dts, rest = [], [], []

        def noted() -> Iterator[av.Packet]:
            for packet in self._demux():
                pts.append(packet.pts)
                dts.append(packet.pts if packet.dts is None else packet.dts)
                is_hidden = packet.is_discard or self._is_invisible(packet)
                numbers = packet.size, packet.is_keyframe, packet.pos or 0, packet.duration or 0
                rest.append((*numbers, is_hidden))
                yield packet

        packets = noted()
        first = list(islice(self._decode(packets), _PROBED))
        deque(packets, 0)  # the others are not decoded
        if not first:
            raise VideoError(self.path, 'not a single frame can be decoded')
        self._note_shape(first[0])
        probed = [frame.pts for frame in first]
        if None in pts or None in probed:
            return self._counted()
        size, is_key, position, duration, is_hidden = np.array(rest, np.int64).T
        pts = np.array(pts)
        # What precedes the first key frame is not decoded.
        shown = np.flatnonzero((is_hidden == 0) & (pts >= probed[0]))
        order = shown[np.argsort(pts[shown], kind='stable')]
        times = pts[order]
        if np.any(np.diff(times) <= 0) or times[: len(probed)].tolist() != probed:
            return self._counted()
        # Matroska and Ogg seek by the time of presentation, others by that of decoding.
        by_pts = self._container.format.name.startswith(('matroska', 'ogg'))
        keys = np.flatnonzero(is_key)
        numbers = np.searchsorted(times, pts[keys])
        starts = [
            _Start(int(key), int(number), int(pts[key] if by_pts else dts[key]), int(position[key]))
            for key, number in zip(keys, numbers, strict=True)
            if number < len(times) and times[number] == pts[key]
        ]
        end = float((pts + duration).max() * self._track.time_base)
        damage = 'its end is missing' if self._lacks_end(end) else ''
        return _Index(np.stack([pts, size], 1), len(times), times, order, starts, damage)

    def _counted(self) -> _Index:
        """Decode the whole file, to count its frames."""
        self._open()
        times = [frame.pts for frame in self._decode(self._demux())]
        damage = f'{self._errors} of its packets cannot be decoded' if self._errors else ''
        increase = None not in times and np.all(np.diff(times) > 0)
        return _Index(
            np.zeros((0, 2), int), len(times), np.array(times) if increase else None, damage=damage
        )

    def _is_invisible(self, packet: av.Packet) -> bool:
        """Return whether a packet is a reference of VP8 that is never shown."""
        return self._track.codec_context.name == 'vp8' and not memoryview(packet)[0] >> 4 & 1

    def _lacks_end(self, end: float) -> bool:
        """Return whether the file ends before the length that its container states for the video track."""
        entries, size = self._track.index_entries, os.path.getsize(self.path)
        if len(entries) and entries[-1].pos + entries[-1].size > size:
            return True
        stated, name = None, self._container.format.name
        if name == 'avi' and self._track.duration:
            stated = float(self._track.duration * self._track.time_base)
        elif name.startswith(('matroska', 'flv')):  # others state nothing, or have an index
            if 'DURATION' in self._track.metadata:
                hours, minutes, seconds = map(float, self._track.metadata['DURATION'].split(':'))
                stated = 3600 * hours + 60 * minutes + seconds
            elif len(self._container.streams) == 1 and self._container.duration:
                stated = self._container.duration / av.time_base
        return stated is not None and end < stated - 1.5 / self.fps

    def _demux(self) -> Iterator[av.Packet]:
        try:
            yield from (packet for packet in self._container.demux(self._track) if packet.size)
        except av.FFmpegError:
            self._errors += 1  # the packets before it can be decoded

    def _decode(self, packets: Iterator[av.Packet]) -> Iterator[av.VideoFrame]:
        """Decode packets, of those before the last wanted frame only the wanted and the referred ones."""
        context = self._track.codec_context
        may_skip = context.name in _UNREFERENCED
        for packet in chain(packets, [None]):
            if may_skip:
                wanted = packet is None or packet.pts is None or packet.pts >= self._last_wanted
                wanted = wanted or packet.pts in self._wanted
                context.skip_frame = 'DEFAULT' if wanted else 'NONREF'
            try:
                yield from context.decode(packet)
            except av.FFmpegError:
                self._errors += 1
                self._failed.append(self._packet)

    def _checked(self, start: _Start, packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
        """Yield packets as long as they are those that the first pass found from a key frame on."""
        expected = self._index.packets[start.packet :]
        for number, (packet, same) in enumerate(zip(packets, expected, strict=False), start.packet):
            if [packet.pts, packet.size] != same.tolist():
                return
            self._packet = number
            yield packet

    def _numbered(
        self, start: _Start, packets: Iterator[av.Packet]
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decode from a key frame on; yield the frames that damage has not reached, with their numbers."""
        times, order = self._index.times, self._index.order
        if order is None:
            yield from enumerate(self._decode(packets))
            return
        damage: list[tuple[int, int]] = []  # from a packet up to a frame
        expected = start.frame
        for frame in self._decode(self._checked(start, packets)):
            number = -1 if frame.pts is None else int(np.searchsorted(times, frame.pts))
            if not start.frame <= number < len(times) or times[number] != frame.pts:
                continue  # it precedes the key frame
            if number > expected and (not self._wanted or expected == start.frame):
                self._failed.append(int(order[expected]))
            expected = number + 1
            damage += [(packet, self._next_key_frame(packet)) for packet in self._failed]
            damage = [(packet, end) for packet, end in damage if end > number]
            self._failed.clear()
            if not any(order[number] >= packet for packet, _ in damage):
                yield number, frame

    def _next_key_frame(self, packet: int) -> int:
        """Return the number of the first key frame after a packet, the number of frames if there is none."""
        starts = self._index.starts
        later = bisect_right(starts, packet, key=lambda start: start.packet)
        return starts[later].frame if later < len(starts) else self._index.length

    def _go_to(self, start: _Start | None) -> bool:
        """Go on decoding at a key frame, or at the beginning of the file; return whether the container leads there."""
        if start is None:
            self._container.close()
            self._open()
            self._begin(self._numbered(_BEGINNING, self._demux()))
            return True
        is_position = self._container.format.name in _POSITIONED
        where = start.position if is_position else start.time
        try:
            self._container.seek(where, stream=self._track, unsupported_byte_offset=is_position)
        except av.FFmpegError:
            return False
        packets, wanted = self._demux(), self._index.packets[start.packet].tolist()
        for packet in packets:
            if [packet.pts, packet.size] == wanted:
                self._begin(self._numbered(start, chain([packet], packets)))
                return True
            if packet.is_keyframe and packet.pts is not None and packet.pts > wanted[0]:
                break
        return False

    def __len__(self) -> int:
        return self._index.length

    @property
    def length(self) -> int:
        return len(self)

    @property
    def damage(self) -> str:
        return self._index.damage

    def _read(self, wanted: list[int]) -> list[np.ndarray]:
        if self._index.order is not None and wanted:
            times = self._index.times[wanted]
            self._wanted, self._last_wanted = set(times.tolist()), int(times[-1])
        try:
            return [self._frame(number) for number in wanted]
        finally:
            self._wanted, self._last_wanted = set(), _NEVER

    def _approaches(self, number: int) -> Iterator[None]:
        """Go to the places from which decoding may reach a frame, one after the other."""
        starts = self._index.starts
        before = bisect_right(starts, number, key=lambda start: start.frame)
        nearest = starts[before - 1].frame if before else 0
        if nearest <= self._last < number:
            yield
        for start in (*reversed(starts[max(before - _STEPS_BACK, 0) : before]), None):
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
            if self._errors:
                break
        raise VideoError(self.path, f'frame {number} cannot be decoded: damaged')

    def __iter__(self) -> Iterator[Frame]:
        index, count, gap = self._index, 0, None
        starts = [start for start in index.starts[:1] if start.packet == 0]
        if not (starts and self._go_to(starts[0])):
            self._go_to(None)
        for number, frame in self._frames:
            gap = count if gap is None and number > count else gap
            count += 1
            yield Frame(self._image(frame), number, self.time(number))
        if not count:
            raise VideoError(self.path, 'not a single frame can be decoded')
        if count < len(self):
            gap = count if gap is None else gap
            lost = f'{len(self) - count} frames are damaged and left out'
            report(self.path, f'{lost}, the first of them is frame {gap}', self.strict)
        if index.damage:
            report(self.path, f'{index.damage}; {count} frames are used', self.strict)

    def time(self, number: int) -> float:
        """Return the time of a frame in seconds since the first one."""
        times = self._index.times
        if times is None:
            return number / self.fps
        return float((times[number] - times[0]) * self._track.time_base)

    def mean_rate(self) -> float:
        """Return the mean frames per second of all time stamps."""
        duration = self.time(len(self) - 1)
        rate = (len(self) - 1) / duration if duration > 0 else self.fps
        return self.fps if abs(rate / self.fps - 1) < 1e-3 else rate

    @property
    def size(self) -> tuple[int, int]:
        width, height = self._index and self._decoded_size  # the first pass notes the size
        return (width, height) if self._is_transposed else (height, width)

    def _note_shape(self, first: av.VideoFrame) -> None:
        """Note the size of the frames before they are turned, with square pixels, and how they are turned."""
        pixel = self._track.sample_aspect_ratio or 1
        width = first.width if abs(pixel - 1) < 0.01 else max(1, round(first.width * pixel))
        self._decoded_size = width, first.height
        matrix = first.side_data.get('DISPLAYMATRIX')
        values = [1, 0, 0, 0, 1] if matrix is None else np.frombuffer(matrix, np.int32).tolist()
        a, b, _, c, d = values[:5]
        self._is_transposed = abs(b) > abs(a)
        x, y = (c, b) if self._is_transposed else (a, d)
        self._flip = ((None, 0), (1, -1))[x < 0][y < 0]

    def _image(self, frame: av.VideoFrame) -> np.ndarray:
        width, height = self._decoded_size
        image = self._reformatter.reformat(
            frame, width, height, 'bgr24', src_color_range=frame.color_range, threads=1
        ).to_ndarray()
        image = cv2.transpose(image) if self._is_transposed else image
        return image if self._flip is None else cv2.flip(image, self._flip)
