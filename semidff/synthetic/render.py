"""Clips (background, objects and their pose in every frame) and their rendering."""

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
        look: Colors and noise.
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
        The picture, (H, W, 3) uint8 BGR, and the index of the visible layer of every pixel,
        (H, W) int16 with -1 for the background.
    """
    height, width = clip.size
    image = cv2.warpAffine(
        clip.background, clip.camera[frame], (width, height), borderMode=cv2.BORDER_REFLECT_101
    )
    owner = np.full((height, width), -1, np.int16)
    for index, layer in enumerate(clip.layers):
        _paste(image, owner, layer, index, frame)
    return _develop(image, clip.look, frame), owner


def _paste(image: np.ndarray, owner: np.ndarray, layer: Layer, index: int, frame: int) -> None:
    """Draw one object over `image` and `owner`, in place."""
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
    """Apply lens blur, light and sensor noise."""
    height, width = image.shape[:2]
    if look.blur:
        image = cv2.GaussianBlur(image, (3, 3), look.blur)
    y, x = look.noise_at[frame]
    noise = look.noise[y : y + height, x : x + width]
    lit = cv2.multiply(image, (*look.gain[frame], 0), dtype=cv2.CV_16S)
    return np.clip(cv2.add(lit, noise), 0, 255).astype(np.uint8)
