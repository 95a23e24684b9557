"""Clips of detection objects: scene, motion, true boxes."""

from dataclasses import dataclass

import numpy as np

from .motion import PACES, Pace, camera_path, object_path, uneven_rates
from .render import Clip, Layer, Look
from .sprites import CLASSES, Sprite, make_background, make_sprite

SIZE_RANGE = (32.0, 84.0)  # side of an object in pixels
MIN_VISIBLE = 0.25  # Objects with a smaller visible fraction of their area are not labeled.


@dataclass(frozen=True)
class TrueBox:
    """Label of an object in a frame.

    Attributes:
        layer: Index of the object in its clip.
        label: Index into `CLASSES`.
        box: x1, y1, x2, y2 in pixels, including hidden parts, clipped to the frame; pixel i covers
            [i, i + 1].
        visible: Fraction of the object's area that is inside the frame and not hidden.
    """

    layer: int
    label: int
    box: tuple[float, float, float, float]
    visible: float


def make_clip(
    seed: np.random.SeedSequence,
    size: tuple[int, int],
    length: int,
    pace: str,
    motion: float = 1.0,
    shake: float = 1.0,
) -> Clip:
    """Make a clip of detection objects.

    Args:
        size: Height and width of the frames.
        pace: 'slow' or 'fast'.
        motion: Factor on all movements of the pace.
        shake: Further factor on those of the camera in the hand.
    """
    rng = np.random.default_rng(seed)
    limits = PACES[pace].scaled(motion * rng.uniform(*PACES[pace].range), shake)
    path = camera_path(rng, length, limits)
    camera, canvas = _place_camera(path, size)
    count = int(rng.choice([2, 3, 4, 5, 6], p=[0.15, 0.25, 0.25, 0.2, 0.15]))
    layers = [_make_layer(rng, path, size, limits) for _ in range(count)]
    background = make_background(rng, *canvas)
    return Clip(size, background, camera, layers, make_look(rng, size, length))


def make_look(rng: np.random.Generator, size: tuple[int, int], length: int) -> Look:
    """Draw slightly flickering light, blur and noise."""
    light = rng.uniform(0.75, 1.2) * rng.uniform(0.92, 1.08, 3)
    time = np.arange(length)[:, None]
    flicker = 1 + rng.uniform(0, 0.04) * np.sin(time * rng.uniform(0.05, 0.6) + rng.uniform(0, 6))
    slack = 16
    noise = rng.standard_normal((size[0] + slack, size[1] + slack, 3), np.float32)
    noise = np.round(noise * rng.uniform(0.5, 4)).astype(np.int16)
    blur = rng.uniform(0.3, 0.9) if rng.random() < 0.6 else 0.0
    return Look(light * flicker, blur, noise, rng.integers(0, slack + 1, (length, 2)))


def true_boxes(clip: Clip, frame: int, owner: np.ndarray) -> list[TrueBox]:
    """Return the boxes of all objects with a visible fraction of at least `MIN_VISIBLE`.

    Args:
        owner: (H, W) layer of each pixel, the second value of `render`.
    """
    height, width = clip.size
    counts = np.bincount(owner.ravel() + 1, minlength=len(clip.layers) + 1)[1:]
    found = []
    for index, layer in enumerate(clip.layers):
        outline = layer.outline(frame)
        x, y = outline.T
        area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
        visible = min(1.0, counts[index] / area)
        if visible < MIN_VISIBLE:
            continue
        low = np.maximum(outline.min(0) + 0.5, 0)
        high = np.minimum(outline.max(0) + 0.5, (width, height))
        box = (*low.tolist(), *high.tolist())
        found.append(TrueBox(index, layer.label, box, float(visible)))
    return found


def pose(sprite: Sprite, x: float, y: float, angle: float, scale: float) -> np.ndarray:
    """Return the (2, 3) map that turns (radians), scales and moves a sprite's center to (x, y)."""
    return turned(np.array(sprite.center), np.array([x, y]), angle, scale)


def turned(source: np.ndarray, target: np.ndarray, angle: float, scale: float = 1.0) -> np.ndarray:
    """Return the (2, 3) map that turns (radians), scales and moves `source` to `target`."""
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.column_stack([turn, target - turn @ source])


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Return the (2, 3) map that applies `inner` first, then `outer`."""
    result = outer[:, :2] @ inner
    result[:, 2] += outer[:, 2]
    return result


def _place_camera(path: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the canvas-to-frame maps of a camera path, and the canvas' height and width."""
    views = np.stack([_view(size, *state) for state in path])
    corners = np.array([(x, y, 1.0) for x in (0, size[1]) for y in (0, size[0])])
    full = np.tile(np.eye(3), (len(path), 1, 1))
    full[:, :2] = views
    seen = np.einsum('tij,cj->tci', np.linalg.inv(full), corners)[..., :2].reshape(-1, 2)
    low = np.floor(seen.min(0)) - 2
    extent = (np.ceil(seen.max(0)) + 2 - low).astype(int)
    shift = np.array([[1, 0, low[0]], [0, 1, low[1]]])
    return np.stack([compose(view, shift) for view in views]), (int(extent[1]), int(extent[0]))


def _view(size: tuple[int, int], x: float, y: float, roll: float) -> np.ndarray:
    """Return the (2, 3) map from scene to frame: it starts at (x, y), turned about its middle."""
    middle = np.array([size[1] / 2, size[0] / 2])
    return turned(middle + (x, y), middle, roll)


def _make_layer(
    rng: np.random.Generator, path: np.ndarray, size: tuple[int, int], pace: Pace
) -> Layer:
    length = len(path)
    label = int(rng.integers(len(CLASSES)))
    pattern, shape = CLASSES[label].split('_')
    side = np.exp(rng.uniform(*np.log(SIZE_RANGE)))
    growth = np.cumsum(uneven_rates(rng, length, pace.zoom * rng.uniform(0, 1), pace.gap))
    sides = np.clip(side * np.exp(growth), *SIZE_RANGE)
    nominal = float(sides.max())
    spin = np.deg2rad(pace.spin) * rng.uniform(0, 1)
    angles = rng.uniform(0, 2 * np.pi) + np.cumsum(uneven_rates(rng, length, spin, pace.gap))
    places = object_path(rng, path[:, :2], size, pace)
    sprite = make_sprite(rng, shape, pattern, nominal)
    poses = [
        compose(_view(size, *path[t]), pose(sprite, *places[t], angles[t], sides[t] / nominal))
        for t in range(length)
    ]
    return Layer(sprite, label, np.stack(poses))
