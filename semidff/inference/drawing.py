"""Draws detections, key-frame marks and feature flow."""

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from torch import Tensor
from torchvision.utils import flow_to_image

KEY_COLOUR = (0, 200, 255)  # BGR


def class_colour(label: int) -> tuple[int, int, int]:
    """A bright BGR colour for a class; classes next to each other differ clearly in hue."""
    hue = int(label * 180 * 0.618034) % 180
    pixel = cv2.cvtColor(np.array([[[hue, 200, 255]]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0]
    return tuple(int(value) for value in pixel)


def flow_panel(flow: Tensor | None, height: int, width: int) -> np.ndarray:
    """Feature flow as colours of the flow wheel, as large as the frame.

    Args:
        flow (Tensor | None): (2, h, w) or (1, 2, h, w), in cells; None (key frames) is no motion.
        height (int): Height of the panel in pixels.
        width (int): Width of the panel in pixels.

    Returns:
        ndarray: (height, width, 3) uint8, BGR.  White is no motion; the strongest motion of a frame
        has full saturation.
    """
    flow = torch.zeros(2, 1, 1) if flow is None else flow.detach().float().cpu()
    flow = flow[0] if flow.ndim == 4 else flow
    wheel = flow_to_image(flow).permute(1, 2, 0).numpy()[..., ::-1]
    panel = cv2.resize(np.ascontiguousarray(wheel), (width, height), interpolation=cv2.INTER_LINEAR)
    return _text(panel, 'feature flow', (8, height - 10), (0, 0, 0))


def render_frame(
    image: np.ndarray,
    sample: DetDataSample,
    classes: tuple[str, ...],
    is_key: bool,
    flow: Tensor | None = None,
    score_thr: float = 0.3,
    with_flow: bool = False,
) -> np.ndarray:
    """A frame with its detections; key frames have a coloured border and the word KEY.

    Args:
        image (ndarray): (H, W, 3) uint8, BGR; it is not changed.
        sample (DetDataSample): With ``pred_instances`` in the image's coordinates.
        classes (tuple[str]): Class names.
        is_key (bool): Whether it is a key frame.
        flow (Tensor | None): Feature flow, (2, h, w) in cells, for a panel beside the frame.
        score_thr (float): Detections with lower scores are not drawn.
        with_flow (bool): Adds the panel although ``flow`` is None (a video's frames must all have
            one size, and key frames have no flow).

    Returns:
        ndarray: (H, W, 3), or (H, 2 W, 3) with the panel; uint8, BGR.
    """
    canvas = image.copy()
    height, width = canvas.shape[:2]
    instances = sample.pred_instances.cpu()
    for index in torch.argsort(instances.scores).tolist():  # the best on top
        score = float(instances.scores[index])
        if score >= score_thr:
            label = int(instances.labels[index])
            name = classes[label] if label < len(classes) else f'class {label}'
            _box(canvas, instances.bboxes[index].tolist(), f'{name} {score:.2f}', label)
    if is_key:
        thickness = max(3, min(height, width) // 80)
        cv2.rectangle(canvas, (0, 0), (width - 1, height - 1), KEY_COLOUR, thickness)
        _text(canvas, 'KEY', (thickness + 6, thickness + 20), KEY_COLOUR)
    if flow is None and not with_flow:
        return canvas
    return np.concatenate([canvas, flow_panel(flow, height, width)], axis=1)


def _box(canvas: np.ndarray, bbox: list[float], text: str, label: int) -> None:
    x1, y1, x2, y2 = (round(value) for value in bbox)
    colour = class_colour(label)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, 2)
    _text(canvas, text, (x1 + 2, max(y1 - 4, 12)), colour)


def _text(canvas: np.ndarray, text: str, at: tuple[int, int], colour: tuple) -> np.ndarray:
    outline = (255, 255, 255) if sum(colour) == 0 else (0, 0, 0)
    for shade, thickness in ((outline, 3), (colour, 1)):
        cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, shade, thickness, cv2.LINE_AA)
    return canvas
