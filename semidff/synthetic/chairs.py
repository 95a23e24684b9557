"""Pairs of pictures with true flow, in the style of Flying Chairs.

Random polygons with holes and thin legs, filled with noise, move by random affine maps over a
background that moves by another one. They look unlike the objects of the videos.
"""

import cv2
import numpy as np

from .clip import compose, make_look, pose, turned
from .render import Clip, Layer
from .sprites import Sprite, cut_out, make_background, noise_picture

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
    return Clip(size, background, camera, layers, make_look(rng, size, 2))


def make_chair_sprite(rng: np.random.Generator, size: float) -> Sprite:
    """Draw a jagged polygon filled with noise, sometimes with a hole or legs."""
    side = int(np.ceil(size)) + 4
    center = (side - 1) / 2
    color = noise_picture(rng, side, side, rng.uniform(20, 70))
    count = int(rng.integers(4, 10))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    body = center + circle * rng.uniform(0.45, 1, (count, 1)) * size / 2
    polygons = [body]
    if rng.random() < 0.5:
        polygons.append(center + (body - center) * rng.uniform(0.3, 0.7))
    for _ in range(int(rng.integers(0, 4))):
        start = rng.uniform(-0.4, 0.4) * size
        leg = np.array(
            [(start, 0.1 * size), (start + 0.06 * size, 0.1 * size), (start, 0.5 * size)]
        )
        polygons.append(center + np.insert(leg, 2, (start + 0.06 * size, 0.5 * size), axis=0))
    return cut_out(color, polygons)


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
    sprite = make_chair_sprite(rng, side)
    place = rng.uniform(-0.05, 1.05, 2) * (size[1], size[0])
    first = pose(sprite, *place, rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1.1))
    # Many small movements, a few of half an object's size.
    distance = min(rng.exponential(14), 50.0)
    heading = rng.uniform(0, 2 * np.pi)
    own = turned(
        place,
        place + distance * np.array([np.cos(heading), np.sin(heading)]),
        np.deg2rad(rng.normal(0, 10)),
        np.exp(rng.normal(0, 0.07)),
    )
    return Layer(sprite, 0, np.stack([first, compose(moved, compose(own, first))]))
