"""Objects of four classes, recognizable by their shape, with swinging limbs or a soft body."""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from .scenery import noise_picture, random_color

CLASSES = ('person', 'dog', 'car', 'fish')
SEGMENTATION_CLASSES = ('background', *CLASSES)

TEXTURE_SIDE = 96  # pixels, for the object's units from -1 to 1


class Part(NamedTuple):
    """One part of an object, in units of half its longer side: x forward, y down, within [-1, 1].

    Attributes:
        outlines: (n, 2) polygons; overlaps are holes.
        color: BGR.
        joint: x, y about which the part swings.
        swing: Largest angle in radians.
        phase: Phase of the swing in the object's gait.
    """

    outlines: list[np.ndarray]
    color: np.ndarray
    joint: tuple[float, float] = (0.0, 0.0)
    swing: float = 0.0
    phase: float = 0.0


class Kind(NamedTuple):
    """How the objects of a class look and move."""

    make: Callable[[np.random.Generator], list[Part]]  # draws the parts of one object
    depth: float  # width of the front view relative to that of the side view
    tilt: float  # largest angle to the horizontal in radians
    waves: tuple[float, float]  # amplitudes along x and y that deform the object
    climb: float  # largest slope of the path


def capsule(start, end, first: float, last: float) -> np.ndarray:
    """Return the (14, 2) outline of two half circles with radii `first`, `last` and their hull."""
    start, end = np.array(start, float), np.array(end, float)
    along = (end - start) / np.linalg.norm(end - start)
    angles = np.linspace(np.pi / 2, 3 * np.pi / 2, 7)[:, None]
    circle = np.cos(angles) * along + np.sin(angles) * (-along[1], along[0])
    return np.concatenate([start + first * circle, end - last * circle])


def ellipse(x: float, y: float, width: float, height: float) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 17)[:-1]
    return np.stack([x + width * np.cos(angles), y + height * np.sin(angles)], axis=1)


def _limb(color, joint, end, width: float, swing: float, phase: float) -> Part:
    return Part([capsule(joint, end, width, 0.7 * width)], color, joint, swing, phase)


def _person(rng: np.random.Generator) -> list[Part]:
    skin = np.array([0.5, 0.7, 1.0]) * rng.uniform(70, 235)
    shirt, trousers = random_color(rng), random_color(rng)
    sleeve = shirt if rng.random() < 0.6 else skin
    wide, swing = rng.uniform(0.85, 1.25), rng.uniform(0.4, 0.8)
    arm, leg = ((0.0, -0.48), (0.08, 0.1)), ((0.0, 0.1), (0.0, 0.9))
    return [
        _limb(0.75 * sleeve, *arm, 0.11 * wide, swing, np.pi),
        _limb(0.75 * trousers, *leg, 0.18 * wide, 0.8 * swing, 0),
        _limb(trousers, *leg, 0.18 * wide, 0.8 * swing, np.pi),
        Part([capsule((0, -0.4), (0, 0.1), 0.3 * wide, 0.24 * wide)], shirt),
        Part([ellipse(0.02, -0.79, 0.19, 0.2)], skin),
        Part([ellipse(-0.03, -0.87, 0.19, 0.13)], rng.uniform(10, 120, 3)),
        _limb(0.9 * sleeve, *arm, 0.11 * wide, swing, 0),
    ]


def _dog(rng: np.random.Generator) -> list[Part]:
    fur = np.array([0.6, 0.8, 1.0]) * rng.uniform(35, 240) * rng.uniform(0.8, 1.1, 3)
    wide, swing, low = rng.uniform(0.8, 1.25), rng.uniform(0.3, 0.7), rng.uniform(0.5, 0.75)
    legs = [
        _limb(shade * fur, (x, 0), (x, low), 0.1 * wide, swing, phase)
        for shade, x, phase in (
            (0.7, -0.48, 0), (0.7, 0.42, np.pi), (1, -0.52, np.pi), (1, 0.38, 0)
        )
    ]  # fmt: skip
    return [
        _limb(0.9 * fur, (-0.62, -0.2), (-0.95, -0.5), 0.07, 0.5, 1),
        *legs,
        Part([capsule((-0.5, -0.1), (0.42, -0.12), 0.22 * wide, 0.26 * wide)], fur),
        Part([capsule((0.45, -0.2), (0.68, -0.5), 0.2, 0.16)], fur),
        Part([capsule((0.7, -0.5), (0.94, -0.42), 0.16, 0.09)], fur),
        _limb(0.5 * fur, (0.62, -0.62), (0.55, -0.36), 0.07, 0.3, 2),
    ]


def _car(rng: np.random.Generator) -> list[Part]:
    paint, tire = random_color(rng), rng.uniform(15, 50, 3)
    roof, back, front = rng.uniform(0.35, 0.55), rng.uniform(0.45, 0.95), rng.uniform(0.1, 0.4)
    body = [
        (-1, -0.1), (-back, -roof), (front, -roof), (front + 0.3, -0.12), (0.97, 0), (1, 0.25),
        (-1, 0.25),
    ]  # fmt: skip
    glass = [(-back + 0.1, -roof + 0.07), (front - 0.03, -roof + 0.07), (front + 0.2, -0.1)]
    glass.append((-min(back + 0.05, 0.9), -0.1))
    wheels = [ellipse(x, 0.25, 0.19, 0.19) for x in (-0.58, 0.58)]
    hubs = [ellipse(x, 0.25, 0.09, 0.09) for x in (-0.58, 0.58)]
    return [
        Part([np.array(body)], paint),
        Part([np.array(glass)], rng.uniform(20, 130, 3)),
        Part(wheels, tire),
        Part(hubs, rng.uniform(90, 200, 3)),
    ]


def _fish(rng: np.random.Generator) -> list[Part]:
    scales, high = random_color(rng), rng.uniform(0.34, 0.5)
    x = np.linspace(-0.62, 1, 15)
    side = high * np.sin(np.pi * ((1 - x) / 1.7) ** 0.7) + 0.05
    body = np.concatenate([np.stack([x, -side], axis=1), np.stack([x[::-1], side[::-1]], axis=1)])
    tail = np.array([(-0.55, 0.0), (-0.8, -0.2), (-1, -0.42), (-0.9, 0), (-1, 0.42), (-0.8, 0.2)])
    fins = np.array([(-0.2, -high), (0.35, -high), (-0.15, -high - 0.22)])
    return [
        Part([fins], 0.7 * scales),
        Part([tail], 0.8 * scales, (-0.55, 0), rng.uniform(0.1, 0.4), 1),
        Part([body], scales),
        Part([np.array([(0.2, 0.1), (0.05, 0.33), (-0.1, 0.25)])], 0.7 * scales, (0.2, 0.1), 0.5),
        Part([ellipse(0.72, -0.07, 0.06, 0.06)], rng.uniform(0, 60, 3)),
    ]


KINDS = {
    'person': Kind(_person, 0.9, 0.12, (0.04, 0.0), 0.25),
    'dog': Kind(_dog, 0.6, 0.2, (0.02, 0.06), 0.3),
    'car': Kind(_car, 0.6, 0.15, (0.0, 0.0), 0.3),
    'fish': Kind(_fish, 0.6, 0.35, (0.0, 0.1), 0.6),
}


def make_texture(rng: np.random.Generator, contrast: float, patterns: float = 0.5) -> np.ndarray:
    """Draw the factors of an object's colors: (h, w, 4) uint8, 128 for 1, the last one always 1."""
    texture = np.full((TEXTURE_SIDE, TEXTURE_SIDE, 4), 128, np.float32)
    noise = noise_picture(rng, TEXTURE_SIDE, TEXTURE_SIDE, contrast)
    texture[..., :3] += noise - noise.mean((0, 1))
    if rng.random() < patterns:  # stripes or spots
        u, v = np.meshgrid(*[np.linspace(-1, 1, TEXTURE_SIDE, dtype=np.float32)] * 2)
        angle, period = rng.uniform(0, np.pi), rng.uniform(0.15, 0.6)
        across = (u * np.cos(angle) + v * np.sin(angle)) / period
        along = (v * np.cos(angle) - u * np.sin(angle)) / period * rng.integers(2)
        waves = np.sin(2 * np.pi * across) * np.cos(2 * np.pi * along)
        texture[..., :3] += np.clip(3 * waves, -1, 1)[..., None] * (
            rng.uniform(-50, 50) + rng.normal(0, 10, 3)
        )
    return np.clip(cv2.GaussianBlur(texture, (3, 3), 0), 0, 255).astype(np.uint8)
