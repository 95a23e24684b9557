"""Clips (background, layers, camera) and their rendering."""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from .objects import TEXTURE_SIDE, Part

_FIXED = 16  # units of a polygon's coordinates per pixel
_MARGIN = 3  # pixels of a layer's picture around its outlines
_TAPS = 5  # pictures that are averaged for motion blur, at most


class Layer:
    """An object of a clip, or a thing in the foreground.

    Args:
        label: Index of its class; -1 for things without labels.
        parts: From back to front.
        poses: (length, 2, 3) affine maps from the object's units to the frame's pixels.
        gait: Amplitude (factor on the swings) and phase, (length, 2).
        waves: (2,) amplitudes of the waves along x and y that deform the object in time.
        texture: See :func:`make_texture`; None for a plain object.
        slides: (length,) shift of the texture in the object's units.
        relief: Strength of the shading.
    """

    def __init__(
        self,
        label: int,
        parts: list[Part],
        poses: np.ndarray,
        gait: np.ndarray | None = None,
        waves: tuple[float, float] = (0.0, 0.0),
        texture: np.ndarray | None = None,
        slides: np.ndarray | None = None,
        relief: float = 0.0,
    ) -> None:
        self.label, self.poses, self.texture, self.relief = label, poses, texture, relief
        self.gait = np.zeros((len(poses), 2)) if gait is None else gait
        self.slides = np.zeros(len(poses)) if slides is None else slides
        self.waves = waves
        self.colors = [(*np.clip(part.color, 0, 255).tolist(), 255) for part in parts]
        outlines = [[self._place(part, outline) for outline in part.outlines] for part in parts]
        points = np.concatenate([outline for part in outlines for outline in part], axis=1)
        self.low = np.floor(points.min(axis=1)).astype(int) - _MARGIN
        self.high = np.ceil(points.max(axis=1)).astype(int) + _MARGIN
        self.outlines = [
            [np.round(outline * _FIXED).astype(np.int32) for outline in part] for part in outlines
        ]

    def _place(self, part: Part, outline: np.ndarray) -> np.ndarray:
        """Return the outline of a part in the frame's pixels, (length, n, 2)."""
        amplitude, phase = self.gait.T
        angle = (part.swing * amplitude * np.sin(phase + part.phase))[:, None]
        x, y = (outline - part.joint).T
        points = np.stack(
            [x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], axis=-1
        )
        points += part.joint
        along, across = points[..., 0].copy(), points[..., 1].copy()
        points[..., 0] += _wave(across, self.waves[0], phase[:, None])
        points[..., 1] += _wave(along, self.waves[1], phase[:, None])
        return points @ self.poses[:, :, :2].transpose(0, 2, 1) + self.poses[:, None, :, 2]

    def draw(self, frame: int) -> np.ndarray:
        """Return the picture of the object, (h, w, 4) BGRA with premultiplied colors; its top left
        corner is ``low[frame]``.
        """
        width, height = self.high[frame] - self.low[frame]
        piece = np.zeros((height, width, 4), np.uint8)
        corner = (self.low[frame] * _FIXED).astype(np.int32)
        for color, part in zip(self.colors, self.outlines, strict=True):
            polygons = [outline[frame] - corner for outline in part]
            cv2.fillPoly(piece, polygons, color, cv2.LINE_AA, shift=4)
        if self.texture is not None:
            piece = cv2.multiply(piece, self._texture(frame, width, height), scale=1 / 128)
        if self.relief:
            size = max(int(min(width, height) / 5), 2)
            soft = cv2.blur(piece[..., 3], (size, size))
            lit, dark = np.roll(soft, -1, (0, 1)), np.roll(soft, size // 2 + 1, (0, 1))
            light = cv2.addWeighted(lit, 0.5 * self.relief, dark, -0.5 * self.relief, 128)
            shades = cv2.merge([light, light, light, np.full_like(light, 128)])
            piece = cv2.multiply(piece, shades, scale=1 / 128)
        return piece

    def _texture(self, frame: int, width: int, height: int) -> np.ndarray:
        """Return the texture at each pixel of the object's picture."""
        pose = self.poses[frame].copy()
        pose[:, 2] -= self.low[frame]
        inverse = cv2.invertAffineTransform(pose).astype(np.float32)
        columns = np.arange(width, dtype=np.float32)
        rows = np.arange(height, dtype=np.float32)[:, None]
        x, y = (row[0] * columns + row[1] * rows + row[2] for row in inverse)
        phase = self.gait[frame, 1]
        if any(self.waves):
            x, y = x - _wave(y, self.waves[0], phase), y - _wave(x, self.waves[1], phase)
        scale, middle = np.float32(TEXTURE_SIDE / 2), np.float32((TEXTURE_SIDE - 1) / 2)
        x = (x + np.float32(self.slides[frame])) * scale + middle
        return cv2.remap(
            self.texture, x, y * scale + middle, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )


def _wave(other: np.ndarray, amplitude: float, phase) -> np.ndarray:
    """Return the shift along one axis at the coordinates of the other axis."""
    if not amplitude:
        return np.zeros_like(other)
    phase = np.asarray(phase, other.dtype)
    return np.sin(2.5 * other + phase) * (1 - 0.5 * other) * np.float32(amplitude)


@dataclass
class Look:
    """Camera effects.

    Attributes:
        exposure: (length,) factors of the colors.
        blur: Standard deviation of the lens blur in pixels; 0 for none.
        shutter: Time in frames during which the shutter is open.
        noise: (h, w, 3) uint8 tile of sensor noise around 128, larger than the frame.
        noise_at: (length, 2) offset (y, x) of each frame's noise in the tile.
    """

    exposure: np.ndarray
    blur: float
    shutter: float
    noise: np.ndarray
    noise_at: np.ndarray


@dataclass
class Clip:
    """A scene to render.

    Attributes:
        size: Height and width of the frames.
        background: (h, w, 3) uint8 canvas, larger than the frame.
        camera: (length, 2, 3) affine maps from the canvas' pixels to the frame's.
        layers: From back to front.
    """

    size: tuple[int, int]
    background: np.ndarray
    camera: np.ndarray
    layers: list[Layer]
    look: Look

    def __len__(self) -> int:
        return len(self.camera)


class Rendered(NamedTuple):
    """A rendered frame.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        owner: (H, W) int16, the visible layer of every pixel, -1 for the background.
        areas: Pixels of each layer, with those that are hidden or outside the frame; 0 for layers
            that are outside.
    """

    image: np.ndarray
    owner: np.ndarray
    areas: list[int]


def render(clip: Clip, frame: int) -> Rendered:
    """Render the frame of a 0-based number."""
    height, width = clip.size
    middle = np.array([width / 2, height / 2, 1.0])
    center = np.append(cv2.invertAffineTransform(clip.camera[frame]) @ middle, 1)
    image = _mean([_view(clip, frame, by) for by in _shifts(clip, clip.camera, frame, center)])
    owner = np.full((height, width), -1, np.int16)
    areas = [_paste(image, owner, clip, index, frame) for index in range(len(clip.layers))]
    if clip.look.blur:
        image = cv2.GaussianBlur(image, (3, 3), clip.look.blur)
    y, x = clip.look.noise_at[frame]
    noise = clip.look.noise[y : y + height, x : x + width]
    return Rendered(cv2.addWeighted(image, clip.look.exposure[frame], noise, 1, -128), owner, areas)


def _view(clip: Clip, frame: int, shift: np.ndarray) -> np.ndarray:
    """Return the background of a frame, moved by `shift` pixels."""
    height, width = clip.size
    pose = clip.camera[frame] + np.column_stack([np.zeros((2, 2)), shift])
    left, top = -pose[:, 2].astype(int)
    if np.array_equal(pose, [[1, 0, -left], [0, 1, -top]]):  # The camera stands still.
        return clip.background[top : top + height, left : left + width].copy()
    return cv2.warpAffine(clip.background, pose, (width, height), borderMode=cv2.BORDER_REFLECT_101)


def _paste(image: np.ndarray, owner: np.ndarray, clip: Clip, index: int, frame: int) -> int:
    """Draw a layer over `image` and `owner`, in place; return its area in pixels."""
    layer, (height, width) = clip.layers[index], clip.size
    low, high = layer.low[frame], layer.high[frame]
    if min(*high, width - low[0], height - low[1]) <= 0:
        return 0
    piece = layer.draw(frame)
    shifts = np.round(_shifts(clip, layer.poses, frame, np.array([0, 0, 1.0]))).astype(int)
    if border := int(np.abs(shifts).max()):
        piece = cv2.copyMakeBorder(piece, *[border] * 4, cv2.BORDER_CONSTANT)
        low = low - border
    solid = piece[..., 3] >= 128
    piece = _mean([np.roll(piece, (y, x), (0, 1)) for x, y in shifts] if border else [piece])
    left, top = np.maximum(low, 0)
    inside = slice(top - low[1], height - low[1]), slice(left - low[0], width - low[0])
    piece = piece[inside]
    area = slice(top, top + len(piece)), slice(left, left + piece.shape[1])
    owner[area][solid[inside]] = index
    rest = cv2.cvtColor(255 - piece[..., 3], cv2.COLOR_GRAY2BGR)
    image[area] = cv2.add(cv2.multiply(image[area], rest, scale=1 / 255), piece[..., :3])
    return int(np.count_nonzero(solid))


def _shifts(clip: Clip, poses: np.ndarray, frame: int, point: np.ndarray) -> np.ndarray:
    """Return offsets (n, 2) along the path of a point (x, y, 1) while the shutter is open."""
    after = min(frame + 1, len(poses) - 1)
    path = (poses[after] - poses[after - 1]) @ point * clip.look.shutter
    taps = min(int(np.linalg.norm(path)) + 1, _TAPS)
    return path * (np.arange(taps) - (taps - 1) / 2)[:, None] / taps


def _mean(pictures: list[np.ndarray]) -> np.ndarray:
    mean = pictures[0]
    for count, other in enumerate(pictures[1:], 2):
        mean = cv2.addWeighted(mean, 1 - 1 / count, other, 1 / count, 0)
    return mean
