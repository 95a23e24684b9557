"""Clips (background, objects, poses), their rendering and their true optical flow."""

from dataclasses import dataclass

import cv2
import numpy as np

from .sprites import Sprite


@dataclass
class Layer:
    """One object of a clip.

    Attributes:
        sprite: Picture of the object.
        label: Index of its class.
        poses: (length, 2, 3) affine maps from the sprite's pixels to the frame's pixels.
    """

    sprite: Sprite
    label: int
    poses: np.ndarray

    def outline(self, frame: int) -> np.ndarray:
        """Return the (n, 2) outline of the object in pixels of a frame."""
        pose = self.poses[frame]
        return self.sprite.outline @ pose[:, :2].T + pose[:, 2]


@dataclass
class Look:
    """Camera effects.

    Attributes:
        gain: (length, 3) factors of the three colors.
        blur: Standard deviation of the lens blur in pixels; 0 for none.
        noise: (h, w, 3) int16 tile of sensor noise, larger than the frame.
        noise_at: (length, 2) offset (y, x) of each frame's noise in the tile.
    """

    gain: np.ndarray
    blur: float
    noise: np.ndarray
    noise_at: np.ndarray


@dataclass
class Clip:
    """A scene to render.

    Attributes:
        size: Height and width of the frames.
        background: (h, w, 3) uint8 canvas, larger than the frame.
        camera: (length, 2, 3) affine maps from the canvas' pixels to the frame's.
        layers: Objects, from back to front.
    """

    size: tuple[int, int]
    background: np.ndarray
    camera: np.ndarray
    layers: list[Layer]
    look: Look

    def __len__(self) -> int:
        return len(self.camera)


def render(clip: Clip, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Render the frame of a 0-based number.

    Returns:
        The picture, (H, W, 3) uint8 BGR, and the visible layer of every pixel, (H, W) int16, -1 for
        the background.
    """
    height, width = clip.size
    image = cv2.warpAffine(
        clip.background, clip.camera[frame], (width, height), borderMode=cv2.BORDER_REFLECT_101
    )
    owner = np.full((height, width), -1, np.int16)
    for index, layer in enumerate(clip.layers):
        _paste(image, owner, layer, index, frame)
    return _develop(image, clip.look, frame), owner


def true_flow(
    clip: Clip, owner: np.ndarray, key_owner: np.ndarray, current: int, key: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the offset from each pixel of the current frame to the key frame (DFF Eq. 1).

    With the first picture of a pair as the current frame and the second as the key frame, it is
    that of Flying Chairs.

    Args:
        owner: (H, W) layer of each pixel of the current frame, the second value of `render`.
        key_owner: (H, W) layer of each pixel of the key frame.

    Returns:
        The flow, (H, W, 2) float32 in pixels, x first, and a mask of the pixels visible in both
        frames, (H, W) bool.
    """
    maps = []  # affine maps of each layer from the current frame's pixels to the key frame's
    for poses in (clip.camera, *(layer.poses for layer in clip.layers)):
        square = np.tile(np.eye(3), (2, 1, 1))
        square[0, :2], square[1, :2] = poses[current], poses[key]
        maps.append((square[1] @ np.linalg.inv(square[0]))[:2])
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


def _paste(image: np.ndarray, owner: np.ndarray, layer: Layer, index: int, frame: int) -> None:
    """Draw an object over `image` and `owner`, in place."""
    height, width = image.shape[:2]
    outline = layer.outline(frame)
    left, top = np.maximum(np.floor(outline.min(0)).astype(int) - 1, 0)
    right, bottom = np.minimum(np.ceil(outline.max(0)).astype(int) + 2, (width, height))
    if right <= left or bottom <= top:
        return
    pose = layer.poses[frame].copy()
    pose[:, 2] -= (left, top)
    piece = cv2.warpAffine(layer.sprite.image, pose, (int(right - left), int(bottom - top)))
    alpha = piece[..., 3]
    region = image[top:bottom, left:right]
    rest = (255 - alpha).astype(np.uint16)[..., None]
    region[:] = np.minimum((region * rest + 127) // 255 + piece[..., :3], 255)
    owner[top:bottom, left:right][alpha >= 128] = index


def _develop(image: np.ndarray, look: Look, frame: int) -> np.ndarray:
    height, width = image.shape[:2]
    if look.blur:
        image = cv2.GaussianBlur(image, (3, 3), look.blur)
    y, x = look.noise_at[frame]
    noise = look.noise[y : y + height, x : x + width]
    lit = cv2.multiply(image, (*look.gain[frame], 0), dtype=cv2.CV_16S)
    return np.clip(cv2.add(lit, noise), 0, 255).astype(np.uint8)
