"""Time stamps of a video file's packets: what should be in the file, found without decoding it."""

import os
from collections.abc import Generator

import cv2

# Else FFmpeg writes a line for each damaged macroblock.
os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')


def capture_of(path: str, packets: bool = False) -> cv2.VideoCapture:
    """OpenCV's reader of a file, on one thread: what damage does shall not depend on timing.

    Args:
        path: The video file.
        packets: Whether it gives encoded packets, not frames (turned upright).
    """
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    if packets:
        capture.set(cv2.CAP_PROP_FORMAT, -1)
    return capture


def time_of(capture: cv2.VideoCapture) -> float:
    """Presentation time of the frame or packet that was read last, in seconds."""
    # OpenCV takes a time of 0 for a missing one, and the decoding time in its place may be negative
    return max(capture.get(cv2.CAP_PROP_POS_MSEC), 0.0) / 1000


def packet_times(path: str) -> Generator[float, None, None]:
    """Presentation times of all packets in seconds, in decoding order."""
    capture = capture_of(path, packets=True)
    try:
        while capture.grab():
            yield time_of(capture)
    finally:
        capture.release()


def mean_rate(path: str) -> tuple[int, float | None]:
    """Number of packets of a video, and their mean number per second (None: no time passes)."""
    count, first, last = 0, float('inf'), 0.0
    for count, time in enumerate(packet_times(path), start=1):  # noqa: B007
        first, last = min(first, time), max(last, time)
    return count, (count - 1) / (last - first) if last > first else None
