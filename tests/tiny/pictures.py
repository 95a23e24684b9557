"""Gray pictures of textured boxes on a textured background, at subpixel positions."""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

_MARGIN = 120  # pixels by which the camera can pan


@cache
def texture(height: int, width: int, seed: int) -> np.ndarray:
    """Return a texture (height, width), float32, with details of 4 to 24 pixels."""
    rng, total = np.random.default_rng(seed), np.full((height, width), 128, np.float32)
    for cell, contrast in ((24, 30), (9, 20), (4, 12)):
        coarse = rng.normal(0, contrast, (height // cell + 2, width // cell + 2))
        size = (coarse.shape[1] * cell, coarse.shape[0] * cell)
        fine = cv2.resize(coarse.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
        total += fine[:height, :width]
    return total


def picture(
    size: tuple[int, int],
    boxes: Sequence[Sequence[float]] = (),
    pan: tuple[float, float] = (0, 0),
    seed: int = 0,
) -> np.ndarray:
    """Return a picture (h, w), uint8; textures move with boxes, the background by ``pan``."""
    background = texture(size[0] + 2 * _MARGIN, size[1] + 2 * _MARGIN, seed)
    total = _placed(background, size, pan[0] - _MARGIN, pan[1] - _MARGIN)
    for number, (x1, y1, x2, y2) in enumerate(boxes):
        patch = texture(round(y2 - y1), round(x2 - x1), seed + 1 + number)
        alpha = _placed(np.ones_like(patch), size, x1, y1)
        total = total * (1 - alpha) + _placed(patch, size, x1, y1)
    return np.clip(np.round(total), 0, 255).astype(np.uint8)


def _placed(image: np.ndarray, size: tuple[int, int], x: float, y: float) -> np.ndarray:
    shift = np.array([[1, 0, x], [0, 1, y]], np.float64)
    return cv2.warpAffine(image, shift, size[::-1], flags=cv2.INTER_LINEAR)
