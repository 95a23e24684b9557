"""Textured objects: polygons filled with a two-color pattern; and random backgrounds.

The four classes are the products of two shapes and two patterns, so that neither outline nor
texture alone determines the class; colors are random.
"""

from dataclasses import dataclass

import cv2
import numpy as np

CLASSES = ('striped_disc', 'dotted_disc', 'striped_cross', 'dotted_cross')
SEGMENTATION_CLASSES = ('background', *CLASSES)

_SUPERSAMPLE = 4
_BORDER = 2  # Transparent pixels around a sprite, so that bilinear sampling fades out inside it.


@dataclass
class Sprite:
    """Picture of an object with transparency.

    Attributes:
        image: (h, w, 4) uint8 BGRA, colors premultiplied by alpha.
        outline: (n, 2) float64 polygon (x, y) in the picture's pixel coordinates (pixel centers at
            integers).
    """

    image: np.ndarray
    outline: np.ndarray

    @property
    def center(self) -> tuple[float, float]:
        """Center of rotation (x, y): the middle of the picture."""
        height, width = self.image.shape[:2]
        return (width - 1) / 2, (height - 1) / 2


def _shape_polygon(shape: str) -> np.ndarray:
    """Return the (n, 2) outline of a disc or a cross in the square [-1, 1] x [-1, 1]."""
    if shape == 'cross':
        arm = 0.36
        quarter = np.array([(arm, -1), (arm, -arm), (1, -arm)])
        turn = np.array([(0, -1), (1, 0)])
        powers = (np.linalg.matrix_power(turn, i) for i in range(4))
        return np.concatenate([quarter @ power.T for power in powers])
    angles = 2 * np.pi * np.arange(40) / 40 - np.pi / 2
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _pattern_field(
    pattern: str, u: np.ndarray, v: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the weight in [0, 1] of the second color at the points (u, v) of [-1, 1]^2."""
    angle = rng.uniform(0, np.pi)
    a = u * np.cos(angle) + v * np.sin(angle)
    b = v * np.cos(angle) - u * np.sin(angle)
    phase = rng.uniform(0, 2 * np.pi, 2)
    waves = 2 * np.pi / rng.uniform(0.42, 0.6)  # Periods are about a quarter of the object.
    if pattern == 'striped':
        wave = np.sin(waves * a + phase[0])
    else:  # dotted
        wave = np.cos(waves * a + phase[0]) + np.cos(waves * b + phase[1]) - 0.75
    return np.clip(0.5 + 2.5 * wave, 0, 1)


def make_sprite(rng: np.random.Generator, shape: str, pattern: str, size: float) -> Sprite:
    """Draw an object whose longer side is `size` pixels before rotation."""
    aspect = rng.uniform(0.75, 1.0)
    half = 0.5 * size * np.array([1.0, aspect] if rng.random() < 0.5 else [aspect, 1.0])
    width, height = np.ceil(2 * half).astype(int) + 2 * _BORDER
    center = np.array([(width - 1) / 2, (height - 1) / 2])
    u = ((np.arange(width) - center[0]) / half[0])[None].astype(np.float32)
    v = ((np.arange(height) - center[1]) / half[1])[:, None].astype(np.float32)
    weight = _pattern_field(pattern, *np.broadcast_arrays(u, v), rng)[..., None]
    colors = np.zeros((2, 3))
    while abs(np.diff(colors @ (0.11, 0.59, 0.3))[0]) < 80:  # BGR, 80 gray values apart.
        colors = rng.uniform(10, 245, (2, 3))
    first, second = colors.astype(np.float32)
    shade = rng.uniform(-0.18, 0.18, 2)
    color = (first + (second - first) * weight) * (1 + shade[0] * u + shade[1] * v)[..., None]
    noise = rng.normal(0, 14, (6, 6)).astype(np.float32)
    color += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    return cut_out(color, [_shape_polygon(shape) * half + center])


def cut_out(color: np.ndarray, polygons: list[np.ndarray]) -> Sprite:
    """Cut polygons (in pixels; overlaps are holes) out of an (h, w, 3) picture."""
    height, width = color.shape[:2]
    fine = np.zeros((height * _SUPERSAMPLE, width * _SUPERSAMPLE), np.uint8)
    points = [np.round(((p + 0.5) * _SUPERSAMPLE - 0.5) * 16).astype(np.int32) for p in polygons]
    cv2.fillPoly(fine, points, 255, shift=4)
    alpha = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
    image = np.empty((height, width, 4), np.uint8)
    image[..., :3] = np.clip(color, 0, 255) * (alpha[..., None] / np.float32(255)) + 0.5
    image[..., 3] = alpha
    return Sprite(image, np.concatenate(polygons))


def make_background(
    rng: np.random.Generator, height: int, width: int, patches: int | None = None
) -> np.ndarray:
    """Draw a (height, width, 3) uint8 background.

    Args:
        patches: Number of polygons; by default random and proportional to the area.
    """
    image = noise_picture(rng, height, width)
    if patches is None:
        patches = int(rng.integers(6, 14) * height * width / (192 * 256))
    for _ in range(patches):
        _draw_patch(rng, image)
    fine = rng.normal(0, rng.uniform(2, 7), (height // 2 + 1, width // 2 + 1)).astype(np.float32)
    image += cv2.resize(fine, (width, height))[..., None]
    return np.clip(image, 0, 255).astype(np.uint8)


def noise_picture(
    rng: np.random.Generator, height: int, width: int, contrast: float = 30
) -> np.ndarray:
    """Draw a gradient plus noise of four sizes, finer noise weaker: (height, width, 3) float32."""
    ends = rng.uniform(50, 205, (2, 3)).astype(np.float32)
    slope = rng.normal(0, 1, 2)
    ramp = (
        slope[0] * np.linspace(-1, 1, width)[None] + slope[1] * np.linspace(-1, 1, height)[:, None]
    )
    ramp = ((ramp / (2 * np.abs(slope).sum()) + 0.5)[..., None]).astype(np.float32)
    image = ends[0] + (ends[1] - ends[0]) * ramp
    for cell, weight in ((80, 1.0), (32, 0.7), (12, 0.5), (5, 0.4)):
        shape = (height // cell + 3, width // cell + 3)
        gray = rng.normal(0, 1, (*shape, 1))
        color = rng.normal(0, 0.5, (*shape, 3))
        noise = ((gray + color) * (contrast * weight * rng.uniform(0.3, 1))).astype(np.float32)
        image += cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
    return image


def _draw_patch(rng: np.random.Generator, image: np.ndarray) -> None:
    """Draw a random translucent quadrilateral into `image` (float32), in place."""
    height, width = image.shape[:2]
    center = rng.uniform(0, 1, 2) * (width, height)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 4))
    radius = rng.uniform(10, 60, (4, 1))
    points = center + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    left, top = np.maximum(np.floor(points.min(0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(points.max(0)).astype(int) + 1, (width, height))
    if right <= left or bottom <= top:
        return
    mask = np.zeros((bottom - top, right - left), np.uint8)
    cv2.fillPoly(
        mask, [np.round((points - (left, top)) * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4
    )
    weight = mask[..., None] * np.float32(rng.uniform(0.35, 0.95) / 255)
    region = image[top:bottom, left:right]
    region += (rng.uniform(20, 235, 3).astype(np.float32) - region) * weight
