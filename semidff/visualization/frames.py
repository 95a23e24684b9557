"""Draws detections and key-frame marks on frames, and feature flow and scale field beside them."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from .color_maps import (
    SCALE_COLORS,
    channel_mean,
    colored,
    flow_colors,
    flow_wheel,
    rounded_up,
    scale_limits,
)

KEY_COLOR = (0, 200, 255)  # BGR
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
FULL_FLOW = 0.5  # cells; motion of a smaller fraction of a cell stays pale
FULL_SCALE = 0.05  # deviation of the scale field from one, likewise


def class_color(label: int) -> tuple[int, int, int]:
    """A bright BGR color for a class; classes next to each other differ clearly in hue."""
    hue = int(label * 180 * 0.618034) % 180
    pixel = cv2.cvtColor(np.array([[[hue, 200, 255]]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0]
    return tuple(int(value) for value in pixel)


def flow_panel(
    flow: Tensor | None, height: int, width: int, covered: tuple[float, float] = (1.0, 1.0)
) -> np.ndarray:
    """Feature flow as colors of the flow wheel, as large as the frame, with the wheel as legend.

    Args:
        flow (Tensor | None): (2, h, w) or (1, 2, h, w), in cells; None (key frames) is no motion.
        height (int): Height of the panel in pixels.
        width (int): Width of the panel in pixels.
        covered (tuple[float, float]): Share of the map's rows and columns that the frame covers; the
            rest, padding, is not shown.

    Returns:
        ndarray: (height, width, 3) uint8, BGR.  White is no motion; the wheel's edge, full
        saturation, is the first of 0.5, 1, 2, 4, ... cells that no motion exceeds.
    """
    flow = torch.zeros(2, 1, 1) if flow is None else flow.detach().float().cpu()
    flow = flow[0] if flow.ndim == 4 else flow
    longest = rounded_up(float(flow.norm(dim=0).max()), FULL_FLOW)
    panel = _stretched(flow_colors(flow, longest), height, width, covered)
    size = max(min(height, width) // 6, 9)
    wheel, inside = flow_wheel(size)
    corner = panel[height - size - 8 : height - 8, width - size - 8 : width - 8]
    corner[inside] = wheel[..., ::-1][inside]
    center = (width - 8 - size // 2, height - 8 - size // 2)
    cv2.circle(panel, center, size // 2, BLACK, 1, cv2.LINE_AA)
    unit = 'cell' if longest == 1 else 'cells'
    return _caption(panel, 'feature flow', f'{longest:g} {unit}', center[0] - size // 2 - 6)


def scale_panel(
    scale: Tensor | None, height: int, width: int, covered: tuple[float, float] = (1.0, 1.0)
) -> np.ndarray:
    """The scale field's mean over channels in diverging colors, as large as the frame.

    Args:
        scale (Tensor | None): (C, h, w), usually C = 1; None (key frames) is one everywhere.
        height (int): Height of the panel in pixels.
        width (int): Width of the panel in pixels.
        covered (tuple[float, float]): As in :func:`flow_panel`.

    Returns:
        ndarray: (height, width, 3) uint8, BGR.  Gray is one, blue less, red more; the ends of the
        colors are the first of 1 -+ 0.05, 0.1, 0.2, ... that nothing exceeds.
    """
    mean = channel_mean(torch.ones(1, 1, 1) if scale is None else scale)
    spread = rounded_up(float(np.abs(mean - 1).max()), FULL_SCALE)
    limits = scale_limits(mean, spread)
    panel = _stretched(colored(mean, limits, SCALE_COLORS), height, width, covered)
    bar_width, bar_height = max(width // 6, 9), 12
    bar = colored(np.linspace(*limits, bar_width)[None], limits, SCALE_COLORS)[..., ::-1]
    left, top = width - bar_width - 8, height - bar_height - 8
    panel[top : top + bar_height, left : left + bar_width] = bar
    cv2.rectangle(
        panel, (left - 1, top - 1), (left + bar_width, top + bar_height), BLACK, 1, cv2.LINE_AA
    )
    return _caption(panel, 'scale field', f'1 +- {spread:g}', left - 6)


PANELS = {'flow': ('feature_flow', flow_panel), 'scale': ('scale_field', scale_panel)}
"""Panels beside a frame: what of the result they show, and what draws them."""


def render_frame(
    image: np.ndarray,
    sample: DetDataSample,
    classes: tuple[str, ...],
    is_key: bool,
    score_thr: float = 0.3,
    panels: Sequence[str] = (),
) -> np.ndarray:
    """A frame with its detections; key frames have a colored border and the word KEY.

    Args:
        image (ndarray): (H, W, 3) uint8, BGR; it is not changed.
        sample (DetDataSample): With ``pred_instances`` in the image's coordinates, and with what the
            panels show: ``feature_flow`` (2, h, w) in cells, ``scale_field`` (1, h, w).
        classes (tuple[str]): Class names.
        is_key (bool): Whether it is a key frame.
        score_thr (float): Detections with lower scores are not drawn.
        panels (Sequence[str]): What stands beside the frame, of :data:`PANELS`; where the sample has
            nothing for one (key frames), it shows no motion, or a scale of one.

    Returns:
        ndarray: (H, (1 + number of panels) W, 3) uint8, BGR.
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
        cv2.rectangle(canvas, (0, 0), (width - 1, height - 1), KEY_COLOR, thickness)
        _label(canvas, 'KEY', (thickness, thickness + 19), KEY_COLOR)
    pictures = [canvas]
    for name in panels:
        field, draw = PANELS[name]
        pictures.append(draw(sample.get(field), height, width, covered_share(sample)))
    return np.concatenate(pictures, axis=1)


def render_scaled(
    image: np.ndarray,
    instances: InstanceData,
    classes: tuple[str, ...],
    width: int,
    is_key: bool = False,
    score_thr: float = 0.3,
    max_boxes: int = 20,
) -> np.ndarray:
    """A frame with its best detections, scaled first: lines and words have one size at any resolution.

    Args:
        image (ndarray): (H, W, 3) uint8, BGR.
        instances (InstanceData): Detections in the image's coordinates.
        classes (tuple[str]): Class names.
        width (int): Width of the picture.
        is_key (bool): Whether it is a key frame.
        score_thr (float): Detections with lower scores are not drawn.
        max_boxes (int): At most this many, the best ones, are drawn.

    Returns:
        ndarray: (h, width, 3) uint8, BGR, in the image's proportions.
    """
    zoom = width / image.shape[1]
    size = (width, max(round(image.shape[0] * zoom), 1))
    way = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    best = instances[instances.scores.topk(min(max_boxes, len(instances))).indices]
    best = InstanceData(bboxes=best.bboxes * zoom, scores=best.scores, labels=best.labels)
    picture = cv2.resize(image, size, interpolation=way)
    return render_frame(picture, DetDataSample(pred_instances=best), classes, is_key, score_thr)


def covered_share(sample: DetDataSample) -> tuple[float, float]:
    """Share of the network's rows and columns that a sample's frame covers; the rest is padding."""
    size = sample.get('img_shape')
    padded = sample.get('batch_input_shape')
    if size is None or padded is None:
        return 1.0, 1.0
    return size[0] / padded[0], size[1] / padded[1]


def _stretched(
    picture: np.ndarray, height: int, width: int, covered: tuple[float, float]
) -> np.ndarray:
    """The covered part of an RGB picture of a map, as BGR of a panel's size."""
    whole = (round(width / covered[1]), round(height / covered[0]))
    bgr = np.ascontiguousarray(picture[..., ::-1])
    resized = cv2.resize(bgr, whole, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(resized[:height, :width])


def _box(canvas: np.ndarray, bbox: list[float], text: str, label: int) -> None:
    x1, y1, x2, y2 = (round(value) for value in bbox)
    color = class_color(label)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), color, 2)
    _label(canvas, text, (x1, y1), color)


def _label(canvas: np.ndarray, text: str, corner: tuple[int, int], color: tuple) -> None:
    """A name on a strip above a corner, inside the picture if there is room; it hides what is below."""
    left = max(min(corner[0] + 1, canvas.shape[1] - _length(text) - 3), 2)
    base = max(corner[1] - 5, 13)
    ends = (left - 2, base - 13), (left + _length(text) + 1, base + 4)
    cv2.rectangle(canvas, *ends, color, cv2.FILLED)
    blue, green, red = color
    ink = BLACK if 0.11 * blue + 0.59 * green + 0.3 * red > 110 else WHITE
    cv2.putText(canvas, text, (left, base), cv2.FONT_HERSHEY_SIMPLEX, 0.5, ink, 1, cv2.LINE_AA)


def _text(canvas: np.ndarray, text: str, at: tuple[int, int]) -> np.ndarray:
    """Black text with a white outline."""
    for shade, thickness in ((WHITE, 3), (BLACK, 1)):
        cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, shade, thickness, cv2.LINE_AA)
    return canvas


def _caption(panel: np.ndarray, name: str, legend: str, right: int) -> np.ndarray:
    """What a panel shows, where there is room for it, and what its legend means, up to a column."""
    base, left = panel.shape[0] - 10, right - _length(legend)
    if 8 + _length(name) + 8 < left:
        _text(panel, name, (8, base))
    return _text(panel, legend, (left, base))


def _length(text: str) -> int:
    return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0]
