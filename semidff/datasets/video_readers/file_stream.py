"""Sequential reader of a video file, with OpenCV."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from .base import VideoError, check_video_file
from .container import (
    edited_duration,
    end_is_missing,
    sequence_headers,
    shown,
    states_sizes_in_stream,
)
from .stream import Frame, FrameStream, VideoWarning, report

# Otherwise FFmpeg prints a line for each damaged macroblock.
os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')

_SAME = 5e-4
"""Largest difference of equal time stamps, in seconds."""


class FileStream(FrameStream):
    """Frames of a video file, decoded on one thread in constant memory.

    - Time stamps are those of the container, relative to the first frame, so variable frame rates
      are kept.
    - Frames are rotated according to the file's metadata.
    - The stream ends at the first frame that cannot be decoded, or early if a part of the file is
      missing, with a warning that names file and frame. Which frame that is depends on the file
      only. Damage that the decoder conceals is not detected. Where the container does not state its
      length, a warning says so.
    - Frames have the size of the first one; a warning names the frame at which the coded size changes.

    Args:
        strict: Whether damage is an error instead of a warning.

    Raises:
        VideoError: If the file is missing, empty, not a video, or cannot be opened.
    """

    def __init__(self, path: str | Path, strict: bool = False) -> None:
        self.path = str(path)
        self.name = Path(path).stem
        self.strict = strict
        check_video_file(self.path)
        self._capture = capture_of(self.path)
        if not self._capture.isOpened():
            raise VideoError(self.path, 'not a readable video, or truncated')
        self._fps = self._capture.get(cv2.CAP_PROP_FPS)
        self._declared = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.length = self._declared if self._declared > 0 else None

    def mean_rate(self) -> float | None:
        """Return the mean frames per second of all time stamps; reads the file without decoding it.

        This takes about 0.2 s for 10,000 frames. ``length`` is exact afterwards.
        """
        times = self._times()
        self.length = len(times) or self.length
        duration = float(np.ptp(times)) if len(times) else 0.0
        rate = (len(times) - 1) / duration if duration else None
        nominal = self._fps if self._fps > 0 else None
        return nominal if rate is None or (nominal and abs(rate / nominal - 1) < 1e-3) else rate

    def _times(self) -> np.ndarray:
        """Return the time stamps of all frames that are shown, in seconds; reads the file without decoding it."""
        times = np.fromiter(map(time_of, _packets(self.path)), float)
        return times[shown(times, self.path)]

    def __iter__(self) -> Iterator[Frame]:
        count, first, last = 0, 0.0, 0.0
        try:
            while True:
                read, image = self._capture.read()
                if not read:
                    break
                time = time_of(self._capture)
                if count and time <= last:  # The container has no time stamps.
                    time = last + 1 / max(self._fps, 1.0)
                first, last = first if count else time, time
                yield Frame(image, count, time - first)
                count += 1
        finally:
            self.close()
        if not count:
            raise VideoError(self.path, 'not a single frame can be decoded')
        self._cut = end_is_missing(self.path)
        if self._ends_early(count, last) or np.any(self._times() > last + _SAME):
            reason = (
                f'frame {count} is damaged or missing; the {count} before it, until '
                f'{last - first:.2f} s, are used'
            )
            report(self.path, reason, self.strict)
        elif self._cut is None:
            warnings.warn(
                f'{self.path}: the format does not state the length, so that a missing end cannot be noticed; '
                f'{count} frames are used',
                VideoWarning,
                stacklevel=2,
            )
        if changes := size_changes(self.path):
            reason = (
                f'the size of the frames changes at frame {changes[0]}; they are scaled to the size '
                'of the first frame'
            )
            report(self.path, reason, self.strict)

    def _ends_early(self, count: int, time: float) -> bool:
        """Return whether frames and duration are less than those in the file's header.

        Containers without an index have a duration only, which may be that of a longer audio track.
        """
        with open(self.path, 'rb') as file:
            head = file.read(12)
        has_index = head[4:8] == b'ftyp' or head[:4] == b'RIFF'
        if self._cut and (
            states_sizes_in_stream(self.path) or (not has_index and self._declared <= 0)
        ):
            return True  # what is declared is computed from what is there
        if count >= self._declared or self._fps <= 0:
            return False
        edited = edited_duration(self.path)
        if edited is not None and edited < (self._declared - 0.5) / self._fps:
            # The rest is hidden. The first frame may come later than the part that the edit list shows, and the last
            # one before its end.
            return edited - time > 2.5 / self._fps
        slack = 0.5 / self._fps if has_index or self._cut else 0.5
        return (self._declared - 1) / self._fps - time > slack

    def close(self) -> None:
        self._capture.release()


def capture_of(path: str) -> cv2.VideoCapture:
    """Open a file with OpenCV on one thread, so that the effects of damage do not depend on timing.

    Frames are rotated according to the file's metadata.
    """
    path = os.path.abspath(path)  # FFmpeg takes what precedes a colon in a name for a protocol
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return capture


def size_changes(path: str) -> list[int]:
    """Return the frames at which the coded size changes in a transport, program or raw stream."""
    if not states_sizes_in_stream(path):
        return []
    capture = capture_of(path)
    codec = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, 'little').decode('latin-1')
    capture.release()
    packets = (packet.retrieve()[1].tobytes() for packet in _packets(path))
    return sequence_headers(packets, codec)


def time_of(capture: cv2.VideoCapture) -> float:
    """Return the presentation time of the last frame or packet, in seconds."""
    # OpenCV replaces a presentation time of 0 by the decoding time, which may be negative.
    return max(capture.get(cv2.CAP_PROP_POS_MSEC), 0.0) / 1000


def _packets(path: str) -> Iterator[cv2.VideoCapture]:
    """Yield the open file at each of its packets, in decoding order, without decoding."""
    capture = capture_of(path)
    capture.set(cv2.CAP_PROP_FORMAT, -1)
    while capture.grab():
        yield capture
