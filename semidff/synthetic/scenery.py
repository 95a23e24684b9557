"""Backgrounds: a ground and a wall or sky, with random patches; and things in the foreground."""

import cv2
import numpy as np


def make_background(
    rng: np.random.Generator, height: int, width: int, patches: int | None = None
) -> np.ndarray:
    """Draw a (height, width, 3) uint8 background.

    Args:
        patches: Number of polygons; by default random, with a wall or sky above the ground.
    """
    horizon = max(int(rng.uniform(-0.2, 0.7) * height), 1) if patches is None else 1
    far = noise_picture(rng, horizon, width, rng.uniform(2, 25))
    image = np.concatenate([far, noise_picture(rng, height - horizon, width)])
    if patches is None:
        patches = int(rng.integers(4, 22) * height * width / (192 * 256))
    for _ in range(patches):
        _draw_patch(rng, image)
    fine = rng.normal(0, rng.uniform(2, 9), (height // 2 + 1, width // 2 + 1)).astype(np.float32)
    image += cv2.resize(fine, (width, height))[..., None]
    return np.clip(image, 0, 255).astype(np.uint8)


def random_color(rng: np.random.Generator) -> np.ndarray:
    """Draw a color, (3,): mostly a muted one, sometimes a saturated one."""
    strength = 50 if rng.random() < 0.15 else 16
    return np.clip(rng.uniform(15, 235) + rng.normal(0, strength, 3), 0, 255)


def noise_picture(
    rng: np.random.Generator, height: int, width: int, contrast: float = 30
) -> np.ndarray:
    """Draw a gradient plus noise of four sizes, finer noise weaker: (height, width, 3) float32."""
    ends = np.stack([random_color(rng), random_color(rng)]).astype(np.float32)
    slope = rng.normal(0, 1, 2)
    ramp = (
        slope[0] * np.linspace(-1, 1, width)[None] + slope[1] * np.linspace(-1, 1, height)[:, None]
    )
    ramp = ((ramp / (2 * np.abs(slope).sum()) + 0.5)[..., None]).astype(np.float32)
    image = ends[0] + (ends[1] - ends[0]) * ramp
    for cell, weight in ((80, 1.0), (32, 0.7), (12, 0.5), (5, 0.4)):
        shape = (height // cell + 3, width // cell + 3)
        gray = rng.normal(0, 1, (*shape, 1))
        color = rng.normal(0, 0.2, (*shape, 3))
        noise = ((gray + color) * (contrast * weight * rng.uniform(0.3, 1))).astype(np.float32)
        image += cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
    return image


def _draw_patch(rng: np.random.Generator, image: np.ndarray) -> None:
    """Draw a random translucent quadrilateral or upright rectangle into `image`, in place."""
    height, width = image.shape[:2]
    center = rng.uniform(0, 1, 2) * (width, height)
    if rng.random() < 0.5:
        points = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * rng.uniform(3, 50, 2)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, 4))
        points = rng.uniform(10, 60, (4, 1)) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points += center
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
    region += (random_color(rng).astype(np.float32) - region) * weight


def foreground_outlines(rng: np.random.Generator, height: float) -> list[np.ndarray]:
    """Draw a post, a fence or a bush as (n, 2) polygons in pixels; its foot is at (0, 0)."""
    kind = rng.random()
    if kind < 0.6:
        half, top = rng.uniform(0.008, 0.05) * height, -rng.uniform(0.4, 1.8) * height
        distances = np.arange(4) * rng.uniform(4, 9) * half if kind < 0.15 else [0]
        return [np.array([(-half, top), (half, top), (half, 0), (-half, 0)]) + (x, 0)
                for x in distances]  # fmt: skip
    angles = np.linspace(0, 2 * np.pi, 25)[:-1]
    radius = height * rng.uniform(0.06, 0.2) * rng.uniform(0.7, 1.2, (24, 1))
    return [radius * np.stack([rng.uniform(1, 1.8) * np.cos(angles), np.sin(angles)], axis=1)]
