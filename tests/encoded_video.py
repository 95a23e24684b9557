"""Small video files of many codecs and containers, made with PyAV's encoders."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = (96, 64)  # width, height
UPRIGHT = (1, 0, 0, 1)
DISPLAY = {'upright': UPRIGHT, 'rotated': (0, 1, -1, 0), 'mirrored': (-1, 0, 0, 1)}
"""a, b, c, d of the display matrix: a pixel (x, y) is shown at (a x + c y, b x + d y)."""

CODECS = {
    'h264 closed': ('libx264', {'g': '12', 'bf': '2'}),
    'h264 open': ('libx264', {'x264-params': 'open-gop=1:keyint=12:min-keyint=12:bframes=3'}),
    'h264 no b': ('libx264', {'g': '12', 'bf': '0'}),
    'h264 intra refresh': ('libx264', {'x264-params': 'intra-refresh=1:keyint=12:bframes=0'}),
    'h265': ('libx265', {'x265-params': 'log-level=none:keyint=12:min-keyint=12'}),
    'mpeg4 b': ('mpeg4', {'g': '12', 'bf': '2'}),
    'mpeg2': ('mpeg2video', {'g': '12', 'bf': '2'}),
    'vp9': ('libvpx-vp9', {'g': '12', 'deadline': 'realtime', 'cpu-used': '8'}),
    'av1': ('libsvtav1', {'g': '12', 'preset': '12'}),
    'mjpeg': ('mjpeg', {}),
}


def picture(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return a picture (H, W, 3) with the bits of its number on top and a moving pattern, different
    in all corners.
    """
    width, height = size
    y, x = np.mgrid[:height, :width]
    image = np.stack([2 * x, 3 * y, 4 * np.abs(x - y) + 5 * number], -1) % 200 + 20
    for bit in range(8):
        image[: height // 4, bit * width // 8 : (bit + 1) * width // 8] = (
            225 if number >> bit & 1 else 30
        )
    return image.astype(np.uint8)


def number(image: np.ndarray) -> int:
    """Return the number of an upright picture."""
    top, width = image[: image.shape[0] // 4].astype(float).mean(2), image.shape[1] / 8
    bits = [
        top[3:-3, int((bit + 0.25) * width) : int((bit + 0.75) * width)].mean() > 128
        for bit in range(8)
    ]
    return sum(int(one) << bit for bit, one in enumerate(bits))


def encode(
    path: Path,
    codec: str = 'h264 closed',
    length: int = 40,
    times: Sequence[int] | None = None,
    display: tuple[int, int, int, int] = UPRIGHT,
    size: tuple[int, int] = SIZE,
    faststart: bool = False,
    **settings: object,
) -> Path:
    """Write a video of :func:`picture`; the suffix chooses the container.

    Args:
        times: Times of the frames in 1/25 s; default: one after the other.
        faststart: Whether an mp4 has its index before the frames: it can be opened even if
            truncated.
        settings: Attributes of the stream, such as ``sample_aspect_ratio``.
    """
    encoder, options = CODECS[codec]
    flags = dict(movflags='faststart') if faststart else {}
    with av.open(str(path), 'w', options=flags) as container:
        stream = container.add_stream(encoder, 25, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = 'yuvj420p' if encoder == 'mjpeg' else 'yuv420p'
        stream.codec_context.thread_count = 1
        for key, value in settings.items():
            setattr(stream.codec_context, key, value)
        stream.time_base = stream.codec_context.time_base = Fraction(1, 25)
        if display != UPRIGHT:
            a, b, c, d = (value << 16 for value in display)
            stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        for at in range(length):
            frame = av.VideoFrame.from_ndarray(picture(at, size), 'bgr24')
            frame = frame.reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = times[at] if times else at, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def packet_times(path: Path) -> list[float]:
    """Return the times of the frames of a video file in order, without decoding."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        return sorted(float(packet.pts * packet.time_base) for packet in packets)
