"""Small pictures of single objects of twenty categories, which replace ImageNet for pre-training."""

import numpy as np

from .backgrounds import make_background
from .clip import make_look, pose
from .render import Clip, Layer, render
from .sprites import CROP_CLASSES, make_sprite


def make_crop(seed: np.random.SeedSequence, size: int, label: int) -> np.ndarray:
    """Draw one (size, size, 3) uint8 BGR crop of an object of `CROP_CLASSES[label]`.

    The object fills at least half of the crop, off its center, and sometimes covers a part of
    another object.
    """
    rng = np.random.default_rng(seed)
    background = make_background(rng, size + 4, size + 4, int(rng.integers(0, 4)))
    layers = []
    if rng.random() < 0.4:
        other = int(rng.integers(len(CROP_CLASSES)))
        away = rng.uniform(0, 2 * np.pi)
        distance = rng.uniform(0.5, 0.7) * size
        place = size / 2 + distance * np.array([np.cos(away), np.sin(away)])
        layers.append(_layer(rng, other, size * rng.uniform(0.4, 1), place))
    place = size * rng.uniform(0.42, 0.58, 2)
    layers.append(_layer(rng, label, size * rng.uniform(0.5, 1.05), place))
    camera = np.array([[[1.0, 0, -2], [0, 1, -2]]])
    clip = Clip((size, size), background, camera, layers, make_look(rng, (size, size), 1))
    return render(clip, 0)[0]


def _layer(rng: np.random.Generator, label: int, side: float, place: np.ndarray) -> Layer:
    pattern, shape = CROP_CLASSES[label].split('_')
    sprite = make_sprite(rng, shape, pattern, side)
    return Layer(sprite, label, pose(sprite, *place, rng.uniform(0, 2 * np.pi), 1.0)[None])
