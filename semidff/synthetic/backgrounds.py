"""Random backgrounds: a gradient, noise of several sizes and colored patches."""

import cv2
import numpy as np


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
    """Draw one random translucent quadrilateral into `image` (float32), in place."""
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
