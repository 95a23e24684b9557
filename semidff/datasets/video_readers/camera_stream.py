"""Stream of a camera or from the network."""

import re
import time
from collections.abc import Iterator

import cv2

from .base import VideoError
from .stream import Frame, FrameStream, report


class CameraStream(FrameStream):
    """Frames of a camera until it stops.

    Time stamps are those of the device or the stream, relative to the first frame. If they do not
    increase, they are replaced by the time of arrival.

    Args:
        source: Index of a local camera, or an address (``rtsp://...``).
        strict: Whether the end of the stream is an error instead of a warning.

    Raises:
        VideoError: If it cannot be opened.
    """

    length = None

    def __init__(self, source: int | str, strict: bool = False) -> None:
        if isinstance(source, int):
            self.name, self.path = f'camera{source}', f'camera {source}'
        else:
            self.path = re.sub(r'//[^/]*@', '//', str(source))  # Do not show passwords.
            last = self.path.split('?')[0].rstrip('/').rpartition('/')[2]
            self.name = next(iter(re.findall(r'[\w-]+', last)), 'stream')
        self.strict = strict
        self._capture = cv2.VideoCapture(source)
        if not self._capture.isOpened():
            raise VideoError(self.path, 'cannot be opened; is it there, and free?')

    def mean_rate(self) -> float | None:
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        return fps if 0 < fps <= 1000 else None  # some sources report the rate of their clock

    def __iter__(self) -> Iterator[Frame]:
        index, first, start, last = 0, 0.0, time.monotonic(), 0.0
        while True:
            read, image = self._capture.read()
            if not read:
                break
            stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            first = first if index else stamp
            now = stamp - first
            if index and now <= last:
                now = max(time.monotonic() - start, last)
            last = now
            yield Frame(image, index, now)
            index += 1
        if not index:
            raise VideoError(self.path, 'gives no frames')
        report(self.path, f'no more frames after frame {index - 1}', self.strict)

    def close(self) -> None:
        self._capture.release()
