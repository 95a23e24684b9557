"""The original's proposals, re-stated for pairs whose proposals the goldens do not list.

The package's own come from mmdet, which counts box sizes without the last pixel.
"""

import numpy as np
import torch
from torchvision.ops import nms

STDS = np.float32([0.1, 0.1, 0.4, 0.4])


def proposals(
    foreground: np.ndarray,
    deltas: np.ndarray,
    anchors: np.ndarray,
    image: tuple[int, int],
    before_nms: int = 6000,
    after_nms: int = 300,
    threshold: float = 0.7,
) -> np.ndarray:
    """RoIs (``after_nms``, 5) of one image.

    Args:
        foreground: Foreground probabilities (h, w, 9).
        deltas: De-normalised deltas (h, w, 9, 4).
        anchors: The nine boxes at the first cell.
        image: Height and width of the network's input.
        before_nms: Boxes that enter the suppression.
        after_nms: Rows returned; survivors repeat cyclically where there are fewer.
        threshold: Of the overlap.
    """
    height, width = foreground.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32) * 16
    shifts = np.stack((x, y, x, y), axis=-1)[:, :, None]
    boxes = _decode(shifts + anchors, deltas)
    limits = np.float32([image[1] - 1, image[0] - 1] * 2)
    boxes = np.clip(boxes, 0, limits)
    scores = foreground.copy()
    # Cells beyond the last whole stride come last, but stay.
    scores[image[0] // 16 :] = -1
    scores[:, image[1] // 16 :] = -1
    order = np.argsort(-scores.reshape(-1), kind='stable')[:before_nms]
    boxes, scores = boxes.reshape(-1, 4)[order], scores.reshape(-1)[order]
    inclusive = torch.from_numpy(boxes + np.float32([0, 0, 1, 1]))
    # Already in order: descending numbers keep it, whatever the ties.
    keep = nms(inclusive, torch.arange(len(boxes), 0, -1.0), threshold)[:after_nms].numpy()
    boxes = boxes[np.resize(keep, after_nms)]
    return np.concatenate((np.zeros((after_nms, 1), np.float32), boxes), axis=1)


def _decode(boxes: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    size = boxes[..., 2:] - boxes[..., :2] + 1
    centre = boxes[..., :2] + np.float32(0.5) * (size - 1)
    centre = deltas[..., :2] * size + centre
    half = np.float32(0.5) * (np.exp(deltas[..., 2:]) * size - 1)
    return np.concatenate((centre - half, centre + half), axis=-1)
