"""OpenCV captures, and time stamps of a video file's packets without decoding."""

import os
from collections.abc import Generator

import cv2

# Otherwise FFmpeg prints a line for each damaged macroblock.
os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')


def capture_of(path: str, packets: bool = False, rotate: bool = True) -> cv2.VideoCapture:
    """Open a file with OpenCV on one thread, so that the effects of damage do not depend on timing.

    Args:
        path: The video file.
        packets: Whether to read encoded packets instead of frames.
        rotate: Whether to rotate frames according to the file's metadata.
    """
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, int(rotate))
    if packets:
        capture.set(cv2.CAP_PROP_FORMAT, -1)
    return capture


def time_of(capture: cv2.VideoCapture) -> float:
    """Return the presentation time of the last frame or packet, in seconds."""
    # OpenCV replaces a presentation time of 0 by the decoding time, which may be negative.
    return max(capture.get(cv2.CAP_PROP_POS_MSEC), 0.0) / 1000


def packet_times(path: str) -> Generator[float, None, None]:
    """Yield the presentation times of all packets in seconds, in decoding order."""
    capture = capture_of(path, packets=True)
    try:
        while capture.grab():
            yield time_of(capture)
    finally:
        capture.release()


def mean_rate(path: str) -> tuple[int, float | None]:
    """Return the number of packets and their mean rate per second, None if their times are equal."""
    count, first, last = 0, float('inf'), 0.0
    for count, time in enumerate(packet_times(path), start=1):  # noqa: B007
        first, last = min(first, time), max(last, time)
    return count, (count - 1) / (last - first) if last > first else None
