"""True optical flow between two frames of a clip, and its file format."""

from pathlib import Path

import numpy as np

from .render import Clip


def true_flow(
    clip: Clip, owner: np.ndarray, key_owner: np.ndarray, current: int, key: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the offset of each pixel of the current frame to its position in the key frame (DFF Eq. 1).

    With the first picture of a pair as the current frame and the second as the key frame, this is
    the flow of Flying Chairs.

    Args:
        owner: (H, W) layer of each pixel of the current frame, the second value of `render`.
        key_owner: (H, W) layer of each pixel of the key frame.
        current: Number of the current frame.
        key: Number of the key frame.

    Returns:
        The flow, (H, W, 2) float32 in pixels, x first, and a mask, (H, W) bool, of the pixels that
        are visible in both frames.
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


def write_flow(path: str | Path, flow: np.ndarray) -> None:
    """Write an (H, W, 2) flow in pixels, x first, as a Middlebury .flo file."""
    height, width = flow.shape[:2]
    with open(path, 'wb') as file:
        file.write(b'PIEH' + np.array([width, height], '<i4').tobytes())
        file.write(np.ascontiguousarray(flow, '<f4').tobytes())
