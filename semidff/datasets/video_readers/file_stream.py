"""A video file, frame by frame from its beginning, through OpenCV."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import cv2

from .base import VideoError, check_video_file
from .packets import capture_of, mean_rate, packet_times, time_of
from .stream import Frame, report

_SAME = 5e-4
"""Seconds up to which two time stamps are the same."""


class FileStream:
    """A video file in constant memory, decoded on one thread.

    - Time stamps are the container's, counted from the first frame: a variable frame rate is kept.
    - Phone videos are turned upright, as their rotation says.
    - The stream ends at the first frame that cannot be decoded, or ahead of the file's end if a part
      is missing, with a warning that names file and frame. Which frame that is follows from the file
      alone. Damage that the decoder conceals is not noticed.

    Args:
        path (str | Path): The file.
        strict (bool): Whether damage is an error, not a warning.

    Raises:
        VideoError: The file is missing, empty, not a video, or damaged beyond opening.
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
        """Mean frames per second, from all time stamps; reads through the file without decoding it.

        10,000 frames take about 0.2 s. The number of frames is exact afterwards.
        """
        count, rate = mean_rate(self.path)
        self.length = count or self.length
        nominal = self._fps if self._fps > 0 else None
        if rate is None or (nominal and abs(rate / nominal - 1) < 1e-3):
            return nominal
        return rate

    def __iter__(self) -> Iterator[Frame]:
        """See :class:`FrameStream`."""
        count, first, last = 0, 0.0, 0.0
        try:
            while True:
                read, image = self._capture.read()
                if not read:
                    break
                time = time_of(self._capture)
                if count and time <= last:  # a container without time stamps
                    time = last + 1 / max(self._fps, 1.0)
                first, last = first if count else time, time
                yield Frame(image, count, time - first)
                count += 1
        finally:
            self.close()
        if not count:
            raise VideoError(self.path, 'not a single frame can be decoded')
        if self._ends_early(count, last) or self._has_packets_after(last):
            reason = (
                f'frame {count} is damaged or missing; the {count} before it, until '
                f'{last - first:.2f} s, are used'
            )
            report(self.path, reason, self.strict)

    def _has_packets_after(self, time: float) -> bool:
        """Whether there is something behind the last frame that could be decoded."""
        with closing(packet_times(self.path)) as times:
            return any(other > time + _SAME for other in times)

    def _ends_early(self, count: int, time: float) -> bool:
        """Whether the file has less than its header says, in frames and in time.

        Containers without an index tell a duration only, and the sound's may be a little longer.
        """
        if count >= self._declared or self._fps <= 0:
            return False
        with open(self.path, 'rb') as file:
            head = file.read(12)
        has_index = head[4:8] == b'ftyp' or head[:4] == b'RIFF'
        slack = 0.5 / self._fps if has_index else 0.5
        return (self._declared - 1) / self._fps - time > slack

    def close(self) -> None:
        """Frees the decoder."""
        self._capture.release()
