"""Clips of detection objects: scene, motion, true boxes."""

from dataclasses import dataclass

import cv2
import numpy as np

from .motion import camera_path, object_path, uneven
from .objects import CLASSES, KINDS, Part, make_texture
from .render import Clip, Layer, Look, Rendered
from .scenery import foreground_outlines, make_background, random_color

SIZE_RANGE = (52.0, 130.0)  # longer side of an object in pixels
SPEED_RANGE = (0.006, 0.036)  # of an object per frame, relative to its longer side
PACE_RANGE = (0.04, 7.0)  # factor on all movements of a clip
MIN_VISIBLE = 0.4  # Objects with a smaller visible fraction of their area are not labeled.


@dataclass(frozen=True)
class TrueBox:
    """Label of an object in a frame.

    Attributes:
        layer: Index of the object in its clip.
        label: Index into `CLASSES`.
        box: x1, y1, x2, y2 in pixels of the visible pixels, as ImageNet VID's boxes; pixel i
            covers [i, i + 1].
        visible: Fraction of the object's area that is inside the frame and not hidden.
    """

    layer: int
    label: int
    box: tuple[float, float, float, float]
    visible: float


def make_clip(
    seed: np.random.SeedSequence, size: tuple[int, int], length: int, motion: float = 1.0
) -> Clip:
    """Make a clip of detection objects.

    Args:
        size: Height and width of the frames.
        motion: Factor on all movements.
    """
    rng = np.random.default_rng(seed)
    extent = np.array(size[::-1], float)
    motion *= float(np.clip(np.exp(rng.normal(-1.5, 1.6)), *PACE_RANGE))
    count = int(rng.choice([1, 2, 3, 4, 5], p=[0.2, 0.3, 0.25, 0.15, 0.1]))
    # The same number is visible at a time, however fast the objects are.
    sides = np.exp(rng.uniform(*np.log(SIZE_RANGE), 4 * count))
    speeds = motion * np.exp(rng.uniform(*np.log(SPEED_RANGE), 4 * count))
    count += int(rng.poisson(count * min(0.5 * (sides * speeds).mean() * length / size[1], 2)))
    # Objects that arrive or leave, rather than stay, are fast enough for it.
    arrives = rng.random(len(speeds)) < 0.25
    speeds = np.where(arrives, np.maximum(speeds, min(4 / length, 0.07)), speeds)
    labels = rng.integers(len(CLASSES), size=count)
    paths = [
        object_path(rng, length, side * speed, KINDS[CLASSES[label]].climb)
        for label, side, speed in zip(labels, sides, speeds, strict=False)
    ]
    path = camera_path(rng, length, motion, paths[0])
    camera, canvas = _place_camera(path, size)
    layers = []
    for label, side, speed, moves in zip(labels, sides, speeds, paths, strict=False):
        # Where it is when it is visible for sure; the camera is there, too.
        at = int(np.argmin(np.abs(moves).sum(1)))
        place = path[at, :2] + extent * rng.uniform(0.1, 0.9, 2)
        if arrives[len(layers)]:
            place[0] = path[at, 0] + extent[0] * rng.choice([-0.02, 1.02])
        layers.append(_make_object(rng, int(label), side, speed, moves + place, path, size))
    layers.sort(key=lambda layer: layer.poses[:, 1, 2].mean())  # The lower, the nearer.
    for _ in range(int(rng.choice(4, p=[0.35, 0.35, 0.2, 0.1]))):
        layers.insert(
            int(rng.integers(len(layers) // 2, len(layers) + 1)), _make_foreground(rng, path, size)
        )
    background = make_background(rng, *canvas)
    return Clip(size, background, camera, layers, make_look(rng, size, length))


def make_look(rng: np.random.Generator, size: tuple[int, int], length: int) -> Look:
    """Draw the exposure, which flickers and sometimes adapts, blur and noise."""
    time = np.arange(length)
    flicker = 1 + rng.uniform(0, 0.03) * np.sin(time * rng.uniform(0.05, 0.6) + rng.uniform(0, 6))
    change = rng.normal(0, 0.3) if rng.random() < 0.4 else 0.0
    start, duration = rng.uniform(0, length), rng.uniform(1, 6)
    adapted = np.exp(change / (1 + np.exp(np.clip((start - time) / duration, -30, 30))))
    slack = 16
    noise = rng.standard_normal((size[0] + slack, size[1] + slack), np.float32)
    noise = np.clip(noise * rng.uniform(0.5, 5) + 128.5, 0, 255).astype(np.uint8)
    blur = rng.uniform(0.3, 0.9) if rng.random() < 0.6 else 0.0
    at = rng.integers(0, slack + 1, (length, 2))
    exposure = rng.uniform(0.75, 1.15) * flicker * adapted
    return Look(exposure, blur, rng.uniform(0.1, 0.7), cv2.merge([noise] * 3), at)


def true_boxes(clip: Clip, rendered: Rendered) -> list[TrueBox]:
    """Return the boxes of all objects with a visible fraction of at least `MIN_VISIBLE`."""
    counts = np.bincount(rendered.owner.ravel() + 1, minlength=len(clip.layers) + 1)[1:]
    found = []
    for index, layer in enumerate(clip.layers):
        if layer.label < 0 or counts[index] < max(MIN_VISIBLE * rendered.areas[index], 1):
            continue
        x, y, width, height = cv2.boundingRect((rendered.owner == index).view(np.uint8))
        box = (float(x), float(y), float(x + width), float(y + height))
        found.append(TrueBox(index, layer.label, box, float(counts[index] / rendered.areas[index])))
    return found


def turned(source: np.ndarray, target: np.ndarray, angle: float, scale: float = 1.0) -> np.ndarray:
    """Return the (2, 3) map that turns (radians), scales and moves `source` to `target`."""
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.column_stack([turn, target - turn @ source])


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Return the (..., 2, 3) maps that apply `inner` first, then `outer`."""
    result = outer[..., :2] @ inner
    result[..., 2] += outer[..., 2]
    return result


def _place_camera(path: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the canvas-to-frame maps of a camera path, and the canvas' height and width."""
    views = _views(path, size)
    corners = np.array([(x, y, 1.0) for x in (0, size[1]) for y in (0, size[0])])
    inverses = np.stack([cv2.invertAffineTransform(view) for view in views])
    seen = (inverses @ corners.T).transpose(0, 2, 1).reshape(-1, 2)
    low = np.floor(seen.min(0)) - 2
    extent = (np.ceil(seen.max(0)) + 2 - low).astype(int)
    shift = np.array([[1, 0, low[0]], [0, 1, low[1]]])
    return compose(views, shift), (int(extent[1]), int(extent[0]))


def _views(path: np.ndarray, size: tuple[int, int], parallax: float = 1.0) -> np.ndarray:
    """Return the (length, 2, 3) maps from scene to frame, for things that are nearer by a factor.

    The camera's view starts at x, y; it is turned and enlarged about its middle.
    """
    middle = np.array([size[1] / 2, size[0] / 2])
    views = [turned(middle + parallax * at[:2], middle, at[2], np.exp(at[3])) for at in path]
    return np.stack(views)


def _make_object(
    rng: np.random.Generator,
    label: int,
    side: float,
    speed: float,
    places: np.ndarray,
    path: np.ndarray,
    size: tuple[int, int],
) -> Layer:
    """Make an object that is at `places` (length, 2); `speed` is relative to `side`."""
    length, kind = len(places), KINDS[CLASSES[label]]
    ahead = np.gradient(places[:, 0]) + rng.normal(0, 1e-3)
    # The view turns by up to a right angle away from the side view and back.
    rate = min(speed, 0.05) * 2 * rng.uniform(0, 1)
    turn = rng.uniform(-0.9, 0.9) + np.cumsum(uneven(rng, length, (5, 15))) * rate
    turn += np.convolve(np.pad(np.where(ahead > 0, 0, np.pi), 4, 'edge'), np.ones(9) / 9, 'valid')
    width = np.abs(np.cos(turn)) + kind.depth * np.abs(np.sin(turn))
    width = np.where(np.cos(turn) < 0, -1, 1) * width / np.hypot(1, kind.depth)
    growth = np.exp(np.cumsum(uneven(rng, length, (8, 25))) * rng.uniform(0, 0.3) * speed)
    scales = np.clip(side * growth, 0.7 * SIZE_RANGE[0], 1.3 * SIZE_RANGE[1]) / 2
    tilt = uneven(rng, length, (6, 20), -kind.tilt, kind.tilt)
    pace = np.linalg.norm(np.gradient(places, axis=0), axis=1) / side
    phase = rng.uniform(0, 2 * np.pi) + np.cumsum(0.02 + 7 * pace)
    amplitude = np.clip(pace / 0.02, 0.3, 1)
    poses = np.stack([turned(np.zeros(2), places[t], tilt[t], scales[t]) for t in range(length)])
    poses[:, :, 0] *= width[:, None]
    plain = rng.random() < 0.35
    return Layer(
        label,
        kind.make(rng),
        compose(_views(path, size), poses),
        np.stack([amplitude, phase], axis=1),
        kind.waves,
        None if plain else make_texture(rng, rng.uniform(10, 40)),
        0.6 * turn,
        rng.uniform(0.5, 1.2) if plain else max(rng.uniform(-0.6, 0.8), 0),
    )


def _make_foreground(rng: np.random.Generator, path: np.ndarray, size: tuple[int, int]) -> Layer:
    """Make a thing without label that is nearer than the objects."""
    parallax = rng.uniform(1, 1.5)
    at = path[rng.integers(len(path)), :2] * parallax
    place = at + np.array([rng.uniform(0, 1) * size[1], rng.uniform(0.6, 1.2) * size[0]])
    poses = np.tile(turned(np.zeros(2), place, rng.normal(0, 0.03), size[0]), (len(path), 1, 1))
    outlines = [outline / size[0] for outline in foreground_outlines(rng, size[0])]
    part = Part(outlines, random_color(rng))
    poses = compose(_views(path, size, parallax), poses)
    return Layer(-1, [part], poses, texture=make_texture(rng, 25), relief=rng.uniform(0, 0.6))
