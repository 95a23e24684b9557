"""Pairs of pictures with true flow, in the style of Flying Chairs.

Random polygons with holes and thin legs, filled with noise, move by random affine maps over a
background that moves by another one. They look unlike the objects of the videos.
"""

import cv2
import numpy as np

from .clip import compose, make_look, turned
from .objects import Part, make_texture
from .render import Clip, Layer
from .scenery import make_background

_MARGIN = 48  # pixels of background around the frame


def make_chairs(seed: np.random.SeedSequence, size: tuple[int, int]) -> Clip:
    """Make a clip of two frames, the pair of pictures; `size` is their height and width."""
    rng = np.random.default_rng(seed)
    height, width = size
    background = make_background(
        rng, height + 2 * _MARGIN, width + 2 * _MARGIN, int(rng.integers(0, 30))
    )
    to_frame = np.array([[1.0, 0, -_MARGIN], [0, 1, -_MARGIN]])
    moved = _background_motion(rng, size)
    camera = np.stack([to_frame, compose(moved, to_frame)])
    layers = [_make_layer(rng, size, moved) for _ in range(int(rng.integers(3, 10)))]
    look = make_look(rng, size, 2)
    look.shutter, look.exposure[:] = 0.0, look.exposure[0]
    return Clip(size, background, camera, layers, look)


def true_flow(
    clip: Clip, owner: np.ndarray, key_owner: np.ndarray, current: int, key: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the offset from each pixel of the current frame to the key frame (DFF Eq. 1).

    With the first picture of a pair as the current frame and the second as the key frame, it is
    that of Flying Chairs. Objects move as a whole; they have no joints and no waves.

    Args:
        owner: (H, W) layer of each pixel of the current frame, see `render`.
        key_owner: (H, W) layer of each pixel of the key frame.

    Returns:
        The flow, (H, W, 2) float32 in pixels, x first, and a mask of the pixels visible in both
        frames, (H, W) bool.
    """
    maps = []  # affine maps of each layer from the current frame's pixels to the key frame's
    for poses in (clip.camera, *(layer.poses for layer in clip.layers)):
        maps.append(compose(poses[key], cv2.invertAffineTransform(poses[current])))
    table = np.stack(maps).astype(np.float32)[owner + 1]
    height, width = owner.shape
    x = np.arange(width, dtype=np.float32)[None]
    y = np.arange(height, dtype=np.float32)[:, None]
    moved = table[..., 0] * x[..., None] + table[..., 1] * y[..., None] + table[..., 2]
    flow = moved - np.stack(np.broadcast_arrays(x, y), axis=-1)
    column = np.round(moved[..., 0]).astype(int)
    row = np.round(moved[..., 1]).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    there = key_owner[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    return flow, inside & (there == owner)


def _make_part(rng: np.random.Generator) -> Part:
    """Draw a jagged polygon, sometimes with a hole or legs."""
    count = int(rng.integers(4, 10))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    body = circle * rng.uniform(0.45, 1, (count, 1))
    polygons = [body]
    if rng.random() < 0.5:
        polygons.append(body * rng.uniform(0.3, 0.7))
    for _ in range(int(rng.integers(0, 4))):
        start = rng.uniform(-0.8, 0.8)
        polygons.append(
            np.array([(start, 0.2), (start + 0.12, 0.2), (start + 0.12, 1), (start, 1)])
        )
    return Part(polygons, rng.uniform(50, 205, 3))


def _background_motion(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Draw a (2, 3) map of the frame, small enough for the background to cover both frames."""
    middle = np.array([size[1] / 2, size[0] / 2])
    strength = 1.0
    while True:
        angle = np.deg2rad(rng.normal(0, 2.5)) * strength
        scale = np.exp(rng.normal(0, 0.03) * strength)
        shift = np.clip(rng.normal(0, 7, 2) * strength, -24, 24)
        moved = turned(middle, middle + shift, angle, scale)
        corners = np.array([(x, y, 1.0) for x in (0, size[1]) for y in (0, size[0])])
        inverse = cv2.invertAffineTransform(moved)
        if np.abs(corners @ inverse.T - corners[:, :2]).max() < _MARGIN - 2:
            return moved
        strength *= 0.7


def _make_layer(rng: np.random.Generator, size: tuple[int, int], moved: np.ndarray) -> Layer:
    """Make a polygon that moves with the background and relative to it."""
    side = np.exp(rng.uniform(np.log(24), np.log(110)))
    place = rng.uniform(-0.05, 1.05, 2) * (size[1], size[0])
    angle = rng.uniform(0, 2 * np.pi)
    first = turned(np.zeros(2), place, angle, side * rng.uniform(0.4, 0.55))
    # Many small movements, a few of half an object's size.
    distance = min(rng.exponential(14), 50.0)
    heading = rng.uniform(0, 2 * np.pi)
    own = turned(
        place,
        place + distance * np.array([np.cos(heading), np.sin(heading)]),
        np.deg2rad(rng.normal(0, 10)),
        np.exp(rng.normal(0, 0.07)),
    )
    poses = np.stack([first, compose(moved, compose(own, first))])
    return Layer(0, [_make_part(rng)], poses, texture=make_texture(rng, rng.uniform(20, 70), 0))
