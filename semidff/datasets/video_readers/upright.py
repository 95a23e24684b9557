"""Decoded frames as players show them: turned, mirrored, with square pixels, in BGR."""

from fractions import Fraction
from typing import NamedTuple

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

_LEAST_ASPECT = 0.05  # of pixels: what is narrower, or wider than its inverse, is wrong


class Shape(NamedTuple):
    """Width and height with square pixels ahead of turning; whether x and y swap; flip."""

    size: tuple[int, int]
    is_transposed: bool
    flip: int | None

    @classmethod
    def of(cls, frame: av.VideoFrame, pixel: Fraction | None) -> 'Shape':
        """Return the shape of a frame, given the width of its pixels relative to their height."""
        pixel = pixel or 1
        is_used = abs(pixel - 1) >= 0.01 and _LEAST_ASPECT <= pixel <= 1 / _LEAST_ASPECT
        width = max(1, round(frame.width * pixel)) if is_used else frame.width
        matrix = frame.side_data.get('DISPLAYMATRIX')
        values = [1, 0, 0, 0, 1] if matrix is None else np.frombuffer(matrix, np.int32).tolist()
        a, b, _, c, d = values[:5]
        is_transposed = abs(b) > abs(a)
        x, y = (c, b) if is_transposed else (a, d)
        return cls((width, frame.height), is_transposed, ((None, 0), (1, -1))[x < 0][y < 0])


class Converter:
    """Converts decoded frames to arrays (H, W, 3) uint8 BGR."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame, shape: Shape) -> np.ndarray:
        image = self._reformatter.reformat(
            frame, *shape.size, 'bgr24', src_color_range=frame.color_range, threads=1
        ).to_ndarray()
        image = cv2.transpose(image) if shape.is_transposed else image
        return image if shape.flip is None else cv2.flip(image, shape.flip)
