"""Synthetic video for speed tests: a camera that pans over a smooth texture."""

from pathlib import Path

import cv2
import numpy as np

from semidff.utils.video_writer import VideoWriter


def smooth_frames(count: int, height: int, width: int, seed: int = 0) -> list[np.ndarray]:
    """Make ``count`` frames (height, width, 3), each 4 pixels right of and 1 below the previous."""
    rng = np.random.default_rng(seed)
    size = width + 4 * count, height + count
    canvas = np.full((size[1], size[0], 3), 128, np.float32)
    for cell, contrast in ((160, 50), (40, 25), (10, 12)):
        coarse = rng.normal(0, contrast, (size[1] // cell + 2, size[0] // cell + 2, 3))
        canvas += cv2.resize(coarse.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    canvas = np.clip(canvas, 0, 255).astype(np.uint8)
    return [canvas[i : i + height, 4 * i : 4 * i + width].copy() for i in range(count)]


def write_smooth_video(path: str | Path, count: int, height: int, width: int) -> str:
    """Write :func:`smooth_frames` as an mp4 file; return its path."""
    with VideoWriter(path, fps=25) as writer:
        for frame in smooth_frames(count, height, width):
            writer.write(frame)
    return str(path)
