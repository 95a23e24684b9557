"""Live sources: cameras, addresses and pipes, whose frames come at their own pace."""

import math
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import av
import cv2
import numpy as np

from semidff.utils.files import without_secrets
from semidff.utils.logs import log_event

from .base import Frame, FrameStream, VideoError, as_video_error, report
from .upright import Converter, Shape

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds before the next attempt to connect
_STABLE = 3  # pauses that a connection has to last, so that they do not grow
_AHEAD = 10.0  # seconds: servers send some at once; stamps further ahead of the arrival are wrong
_CLOSING = 2.0  # seconds in which the thread should end; a library may wait longer for the network
_REMEMBERED = 10_000  # delays, of which quantiles are reported
_NO_CLOCK = 0x80  # FFmpeg's AVFMT_NOTIMESTAMPS: it invents time stamps for MJPEG and raw streams

Picture = tuple[float | None, Callable[[], np.ndarray]]
"""Time stamp in seconds or None, and a function that returns the BGR image (H, W, 3) uint8."""


class LiveOptions(NamedTuple):
    """How live sources are read.

    Attributes:
        frames: ``newest``: a frame that still waits when the next one comes is dropped.
            ``every-frame``: none is dropped, so that results lag behind if they take longer than
            the camera.
        timeout: Seconds without a frame after which a connection is lost.
        max_outage: Seconds without a frame after which the stream ends with an error; None: never.
        ffmpeg: Options of FFmpeg for addresses, such as ``rtsp_transport``.
        threads: Number of the decoder's threads. Each one after the first delays the frames by one.
    """

    frames: str = 'newest'
    timeout: float = 10.0
    max_outage: float | None = None
    ffmpeg: Mapping[str, str] | None = None
    threads: int = 1


class Clock:
    """The time that live streams use; tests have clocks of their own."""

    def time(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> None:
        """Wait until an event is set, or for some seconds."""
        event.wait(seconds)


class Address:
    """Connection to an address, or an open pipe, read by PyAV.

    Frames with errors that the decoder conceals are used. Of MJPEG and raw streams, time stamps are
    unknown.

    Attributes:
        is_recording: Whether it can be read at any pace, up to its end.
        returns: Whether a new connection may give frames after this one has ended.
    """

    def __init__(self, address: str, options: LiveOptions, clock: Clock) -> None:
        self._timeout, self._clock = options.timeout, clock
        settings = {'rtsp_transport': 'tcp'} if address.startswith('rtsp') else {}
        settings |= {key: str(value) for key, value in (options.ffmpeg or {}).items()}
        self._container = av.open(
            address, options=settings, timeout=options.timeout, metadata_errors='replace'
        )
        self._track = self._container.streams.best('video')
        if self._track is None or self._track.codec_context is None:
            raise VideoError(without_secrets(address), 'there is no video that FFmpeg decodes')
        self._track.codec_context.thread_count = options.threads
        self._track.codec_context.thread_type = 'AUTO'
        self._has_clock = not self._container.format.flags & _NO_CLOCK
        self.is_recording = bool(self._container.duration) and address.startswith(('file:', 'http'))
        self.returns = not self.is_recording and not address.startswith(('file:', 'pipe:'))
        self._converter = Converter()

    def __iter__(self) -> Iterator[Picture]:
        last = self._clock.time()
        for packet in self._container.demux():  # sound, too: it may go on without pictures
            if packet.stream is self._track:
                try:
                    frames = self._track.decode(packet)
                except av.FFmpegError:  # packets were lost: the decoder goes on
                    frames = []
                for frame in frames:
                    # The track may be closed when the image is made.
                    shape = Shape.of(frame, self._track.sample_aspect_ratio)
                    image = partial(self._converter, frame, shape)
                    yield frame.time if self._has_clock else None, image
                    last = self._clock.time()
            if self._clock.time() - last > self._timeout:
                raise VideoError(without_secrets(self._container.name), 'no pictures')

    def close(self) -> None:
        self._container.close()


class Device:
    """Camera by its index, read by OpenCV, which opens cameras by number on every system."""

    is_recording, returns = False, True

    def __init__(self, index: int, options: LiveOptions, clock: Clock) -> None:
        self._capture = cv2.VideoCapture(index)
        if not self._capture.isOpened():
            raise VideoError(f'camera {index}', 'cannot be opened; is it there, and free?')

    def __iter__(self) -> Iterator[Picture]:
        while True:
            read, image = self._capture.read()
            if not read:
                return
            stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            yield stamp, partial(np.asarray, image)

    def close(self) -> None:
        self._capture.release()


class _Times:
    """Time stamps in seconds since the first frame. They go on over new connections and jumps of
    the source's clock.

    Where the source's stamps do not increase, or are too far ahead, the next one is the time of
    arrival.
    """

    def __init__(self) -> None:
        self._last, self._shift, self._start = None, None, 0.0

    def forget(self) -> None:
        """Expect another clock."""
        self._shift = None

    def __call__(self, stamp: float | None, arrival: float) -> float:
        if self._last is None:
            self._start, self._last = arrival, 0.0
        arrival -= self._start
        stamp = arrival if stamp is None else stamp
        now = stamp + (self._shift or 0.0)
        if self._shift is None or not self._last < now <= arrival + _AHEAD:
            now = max(arrival, self._last)
            self._shift = now - stamp
        self._last = now
        return now


class LiveStream(FrameStream):
    """Frames of a camera, an address or a pipe, read by a thread of its own.

    Frames that are dropped count in ``index``, and in ``dropped`` of the next one. A lost
    connection is opened again, with growing pauses; the first frame after it has ``after_gap``.
    With ``strict``, a loss is an error, which comes behind the frames ahead of it.

    Args:
        source: Index of a camera, an address or a named pipe.
        connect: Opens a connection, with the arguments of :class:`Address`.

    Raises:
        VideoError: If the source cannot be opened.
    """

    length = None
    live = True

    def __init__(
        self,
        source: int | str,
        strict: bool = False,
        options: LiveOptions | None = None,
        clock: Clock | None = None,
        connect: Callable[[Any, LiveOptions, Clock], Any] | None = None,
    ) -> None:
        options, self._clock = options or LiveOptions(), clock or Clock()
        if isinstance(source, int):
            self.name, self.path = f'camera{source}', f'camera {source}'
        else:
            self.path = without_secrets(source)
            last = self.path.rstrip('/').rpartition('/')[2]
            self.name = next(iter(re.findall(r'[\w-]+', last)), 'stream')
        self.strict, self._max_outage = strict, 0.0 if strict else options.max_outage
        # Libraries may wait longer than they are told to, for example for the writer of a named
        # pipe.
        limited = self._max_outage is not None
        self._patience = self._max_outage + 2 * options.timeout + _CLOSING if limited else None
        kind = connect or (Device if isinstance(source, int) else Address)
        self._connect = partial(kind, source, options, self._clock)
        with as_video_error(self.path, 'cannot be opened'):
            self._connection = self._connect()
        self._returns = self._connection.returns
        self.drops = options.frames == 'newest' and not self._connection.is_recording
        self._thread = threading.Thread(target=self._read, name='live', daemon=True)
        self._changed, self._closed = threading.Condition(), threading.Event()
        self._waiting: Frame | None = None  # the newest one; its image is a function
        self._count, self._has_ended, self._error = 0, False, None
        self._is_lost, self._pause, self._times = False, _FIRST_PAUSE, _Times()
        self._delays: deque[float] = deque(maxlen=_REMEMBERED)
        self._results = 0

    def ready(self, seconds: float | None = None) -> bool:
        if self._thread.ident is None:
            self._thread.start()
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._waiting) or self._has_ended, seconds)

    def __iter__(self) -> Iterator[Frame]:
        try:
            while (is_ready := self.ready(self._patience)) and self._waiting:
                with self._changed:
                    frame, self._waiting = self._waiting, None
                    self._changed.notify_all()
                frame.image = frame.image()
                yield frame
        finally:
            self.close()
        if not is_ready:
            raise VideoError(self.path, f'no frames for {self._patience:.0f} s')
        if self._error:
            raise self._error
        report(self.path, f'no more frames after frame {self._count - 1}', self.strict)

    def delay_of(self, frame: Frame) -> float:
        """Return the time from the arrival of a frame to its result, which is now, in seconds."""
        self._delays.append(self._clock.time() - frame.arrival)
        self._results += 1
        return self._delays[-1]

    def delays(self) -> str:
        """Return what the results so far were like, in words; there must be one."""
        ordered = sorted(self._delays)
        median, most, longest = (
            f'{1000 * ordered[int(part * (len(ordered) - 1))]:.0f}' for part in (0.5, 0.95, 0.99)
        )
        return (
            f'{self._results} results, {self._count - self._results} frames dropped; delay '
            f'{median} ms (95 %: {most}, 99 %: {longest})'
        )

    def close(self) -> None:
        if self._results and not self._closed.is_set():
            log_event(f'{self.path}: {self.delays()}')
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.ident is None:
            self._connection.close()
        else:
            self._thread.join(_CLOSING)

    def _read(self) -> None:
        """Read one connection after the other, in the thread."""
        self._last = self._clock.time()
        try:
            while True:
                reason = self._read_connection()
                if self._closed.is_set() or not self._returns:
                    break
                self._wait(reason)
            if not self._count:
                raise VideoError(self.path, f'gives no frames ({reason})')
        except Exception as error:  # is raised in the thread that iterates
            self._error = error
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def _read_connection(self) -> str:
        """Hand over the frames of a connection; return why it ended."""
        self._since = self._clock.time()
        try:
            with (
                as_video_error(self.path, 'connection lost'),
                closing(self._connection or self._connect()) as connection,
            ):
                for stamp, picture in connection:
                    self._offer(stamp, picture)
                    if self._closed.is_set():
                        break
        except VideoError as error:
            return error.reason
        finally:
            self._connection = None
        return 'connection closed'

    def _offer(self, stamp: float | None, picture: Callable[[], np.ndarray]) -> None:
        """Let a frame wait, in place of the one before."""
        now, after_gap = self._clock.time(), None
        if self._is_lost:
            log_event(f'{self.path}: frames again after {now - self._last:.0f} s')
            self._times.forget()
            self._is_lost, after_gap = False, True
        with self._changed:
            if not self.drops:
                self._changed.wait_for(lambda: not self._waiting or self._closed.is_set())
            before, dropped = self._waiting, 0
            if before:
                dropped, after_gap = before.dropped + 1, before.after_gap or after_gap
            stamp = self._times(stamp, now)
            self._waiting = Frame(picture, self._count, stamp, None, after_gap, dropped, now)
            self._count += 1
            self._changed.notify_all()
        self._last = self._clock.time()

    def _wait(self, reason: str) -> None:
        """Wait ahead of the next attempt to connect."""
        now = self._clock.time()
        left = math.inf if self._max_outage is None else self._last + self._max_outage - now
        if left <= 0:
            outage = f', no frames for {now - self._last:.0f} s' if self._max_outage else ''
            raise VideoError(self.path, reason + outage)
        is_stable = self._last - self._since >= _STABLE * self._pause and not self._is_lost
        self._pause = _FIRST_PAUSE if is_stable else min(2 * self._pause, _LONGEST_PAUSE)
        if not self._is_lost:
            log_event(f'{self.path}: {reason}; it is opened again until frames come')
        self._is_lost = True
        self._clock.wait(self._closed, min(self._pause, left))
