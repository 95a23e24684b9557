"""Writing of mp4 files."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from .atomic_write import atomic_path

_TICKS = 90_000  # a second
# FFmpeg writes a frame less than 2^31 ticks behind the time of its decoding, which may be five
# frames earlier.
_LONGEST = 3600 * _TICKS
_LARGEST = 16384  # pixels of a side, for the encoder
_BT709 = 1  # number of the color matrix, the primaries and the transfer function
_KEY_DISTANCE = 50  # frames from one key frame to the next, at most
_THREADS = 2  # the content depends on the number


class VideoWriter(AbstractContextManager):
    """Writes an mp4 file (H.264, 4:2:0, index at the front) atomically.

    Used as a context manager, it removes the unfinished file if the block raises. Of frames with
    odd sides the last column or row is repeated, since 4:2:0 requires even sides.

    Args:
        fps: Frames per second; None: each frame has a time stamp.

    Example:
        >>> with VideoWriter('out.mp4', fps=10) as writer:
        ...     writer.write(frame_bgr)
    """

    def __init__(self, path: str | Path, fps: float | None = None) -> None:
        if fps is not None and not is_storable(fps):
            raise ValueError(f'{path}: fps is {fps}; an mp4 file can have from 0.001 to 65535')
        self.path, self.fps = Path(path), fps
        self._track: av.VideoStream | None = None
        self._count, self._first, self._last = 0, 0.0, -1
        self._stack = ExitStack()

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)

    def write(self, frame: np.ndarray, time: float = 0.0) -> None:
        """Add a frame (H, W, 3) uint8 BGR; all frames of a video have one size.

        Args:
            time: Time stamp in seconds, relative to any time; one that does not increase is moved.
                A pause of more than an hour becomes one of an hour.

        Raises:
            OSError: If the file cannot be written.
        """
        height, width = frame.shape[:2]
        if self._track is None:
            self._open(height + height % 2, width + width % 2)
            self._first = time
        if height % 2 or width % 2:
            frame = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), 'bgr24')
        image = image.reformat(format='yuv420p', dst_colorspace='itu709')
        seconds = time - self._first if self.fps is None else self._count / self.fps
        before, now = self._last, max(round(seconds * _TICKS), self._last + 1)
        self._last = min(now, before + _LONGEST)
        self._first += (now - self._last) / _TICKS  # later ones follow
        if self.fps is None and before >= 0:
            self._step = min(self._last - before, _TICKS)
        image.pts, image.time_base = self._last, Fraction(1, _TICKS)
        self._count += 1
        self._encode(image)

    def _open(self, height: int, width: int) -> None:
        if max(height, width) > _LARGEST:
            raise ValueError(
                f'{self.path}: frames are {width}x{height}; H.264 has {_LARGEST} pixels a side at '
                'most'
            )
        if 'libx264' not in av.codecs_available:
            raise OSError(f'{self.path}: PyAV has no libx264; its wheels do: pip install av')
        path = self._stack.enter_context(atomic_path(self.path))
        self._step = round(_TICKS / (self.fps or 25))  # of the last frame
        with self._naming_file():
            self._container = av.open(
                os.path.abspath(path), 'w', format='mp4', options={'movflags': 'faststart'}
            )
            rate = Fraction(self.fps or 25).limit_denominator(1001)
            self._track = self._container.add_stream('libx264', rate or Fraction(self.fps))
        self._stack.push(self._close)
        self._track.height, self._track.width, self._track.pix_fmt = height, width, 'yuv420p'
        # mbtree reads uninitialized memory for small frames: the content would vary.
        self._track.options = {'preset': 'veryfast', 'crf': '23', 'x264-params': 'mbtree=0'}
        context = self._track.codec_context
        context.time_base, context.thread_count = Fraction(1, _TICKS), _THREADS
        context.gop_size, context.color_range = _KEY_DISTANCE, 1  # limited
        context.colorspace = context.color_primaries = context.color_trc = _BT709

    def _encode(self, image: av.VideoFrame | None) -> None:
        with self._naming_file():
            packets = self._track.encode(image)
            for packet in packets:
                packet.duration = self._step  # is used of the last one
            self._container.mux(packets)

    def _close(self, kind: type | None, *error: object) -> None:
        try:
            if kind is None:
                self._encode(None)
        finally:
            with self._naming_file():
                self._container.close()

    @contextmanager
    def _naming_file(self) -> Iterator[None]:
        try:
            yield
        except av.FFmpegError as error:
            raise OSError(f'{self.path}: cannot be written ({error.strerror})') from error


def is_storable(fps: float) -> bool:
    """Return whether an mp4 file can have a frame rate."""
    return 1e-3 <= fps <= 65535
