"""A camera, or a live stream from the network."""

import re
import time
from collections.abc import Iterator

import cv2

from .base import VideoError
from .stream import Frame, report


class CameraStream:
    """Frames as a camera gives them, until it stops.

    Time stamps are the device's or the stream's, counted from the first frame; where they stand
    still, the time of arrival.

    Args:
        source (int | str): Index of a camera of this machine, or an address (``rtsp://...``).
        strict (bool): Whether the end of the stream is an error, not a warning.

    Raises:
        VideoError: It cannot be opened.
    """

    length = None

    def __init__(self, source: int | str, strict: bool = False) -> None:
        # an address may have a password in it, which is not to be shown
        shown = re.sub(r'//[^/@]*@', '//', str(source))
        self.name = f'camera{source}' if isinstance(source, int) else _last_word(shown)
        self.path = f'camera {source}' if isinstance(source, int) else shown
        self.strict = strict
        self._capture = cv2.VideoCapture(source)
        if not self._capture.isOpened():
            raise VideoError(self.path, 'cannot be opened; is it there, and free?')

    def mean_rate(self) -> float | None:
        """What the device says; None if it says nothing."""
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        return fps if fps > 0 else None

    def __iter__(self) -> Iterator[Frame]:
        """See :class:`FrameStream`."""
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
        """Frees the device."""
        self._capture.release()


def _last_word(address: str) -> str:
    """What to call a stream: the last part of its address."""
    words = re.findall(r'[\w-]+', address.split('?')[0].rstrip('/').rpartition('/')[2])
    return words[0] if words else 'stream'
