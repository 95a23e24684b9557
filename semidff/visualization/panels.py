"""Panels beside the frames of an annotated video: feature flow and scale field."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from torch import Tensor

from semidff.inference import MethodError, VideoEngine
from semidff.inference.methods import METHODS, method_class
from semidff.utils.frame_size import frame_size

from .color_maps import SCALE_COLORS, channel_mean, colored, flow_colors, flow_wheel, rounded_up

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
FULL_FLOW = 0.5  # cells; the color scale of the flow never ends below this
FULL_SCALE = 0.05  # likewise for the deviation of the scale field from one


def flow_panel(
    flow: Tensor | None, height: int, width: int, covered: tuple[float, float] = (1.0, 1.0)
) -> np.ndarray:
    """Draw feature flow in the colors of the flow wheel, at the size of the frame.

    Args:
        flow: (2, h, w), in cells; None (key frames): no motion.
        covered: Share of the map's rows and columns that the frame covers; the rest, padding, is cut off.

    Returns:
        (height, width, 3) uint8, BGR. White is no motion; the wheel's edge is the first of 0.5, 1, 2,
        4, ... cells that no vector exceeds.
    """
    flow = torch.zeros(2, 1, 1) if flow is None else flow.detach().float().cpu()
    longest = rounded_up(float(flow.norm(dim=0).max()), FULL_FLOW)
    panel = _resized(flow_colors(flow, longest), height, width, covered)
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
    """Draw the scale field's mean over channels in diverging colors, at the size of the frame.

    Args:
        scale: (C, h, w), usually C = 1; None (key frames): one everywhere.
        covered: As in :func:`flow_panel`.

    Returns:
        (height, width, 3) uint8, BGR. Gray is one, blue is below, red above; the color limits are the
        first of 1 -+ 0.05, 0.1, 0.2, ... that no value exceeds.
    """
    mean = channel_mean(torch.ones(1, 1, 1) if scale is None else scale)
    spread = rounded_up(float(np.abs(mean - 1).max()), FULL_SCALE)
    limits = 1 - spread, 1 + spread
    panel = _resized(colored(mean, limits, SCALE_COLORS), height, width, covered)
    bar_width, bar_height = max(width // 6, 9), 12
    bar = colored(np.linspace(*limits, bar_width)[None], limits, SCALE_COLORS)[..., ::-1]
    left, top = width - bar_width - 8, height - bar_height - 8
    panel[top : top + bar_height, left : left + bar_width] = bar
    cv2.rectangle(
        panel, (left - 1, top - 1), (left + bar_width, top + bar_height), BLACK, 1, cv2.LINE_AA
    )
    return _caption(panel, 'scale field', f'1 +- {spread:g}', left - 6)


PANELS = {'flow': ('feature_flow', flow_panel), 'scale': ('scale_field', scale_panel)}
"""Panels by name: the field of the result that is shown, and the function that draws it."""


def check_panels(panels: Sequence[str], method: str, engine: VideoEngine) -> None:
    """Check that the results of an engine with ``method`` have the fields that the panels show.

    Raises:
        MethodError: A panel is unknown or named twice, the method propagates no features, or the
            temporal module has no feature flow or no scale field.
    """
    for name in panels:
        if name not in PANELS:
            raise MethodError(f'unknown panel {name!r}; choose from {", ".join(PANELS)}')
    if len(set(panels)) < len(panels):
        raise MethodError(f'panels {", ".join(panels)}: one is named twice')
    if not panels:
        return
    if not method_class(method).shows_flow:
        able = ', '.join(name for name, m in METHODS.module_dict.items() if m.shows_flow)
        raise MethodError(
            f'method {method!r} propagates no features, so the panels {", ".join(panels)} would be empty: '
            f'leave them out, or choose one of {able}'
        )
    temporal = engine.method.model.temporal
    if not hasattr(temporal, 'fields'):
        raise MethodError(f'{type(temporal).__name__} has no feature flow; leave out the panels')
    if 'scale' in panels and getattr(temporal, 'scale', None) is None:
        raise MethodError(
            f'method {method!r} has no scale field with this model; leave out the panel scale'
        )


def covered_share(sample: DetDataSample) -> tuple[float, float]:
    """Return the share of the network input's rows and columns that the frame covers; the rest is padding."""
    padded = sample.get('batch_input_shape')
    if not padded or not sample.get('img_shape'):
        return 1.0, 1.0
    height, width = frame_size(sample)
    return height / padded[0], width / padded[1]


def text_width(text: str) -> int:
    return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0]


def _resized(
    picture: np.ndarray, height: int, width: int, covered: tuple[float, float]
) -> np.ndarray:
    """Return the covered part of an RGB picture of a map, as BGR in the size of a panel."""
    whole = (round(width / covered[1]), round(height / covered[0]))
    bgr = np.ascontiguousarray(picture[..., ::-1])
    resized = cv2.resize(bgr, whole, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(resized[:height, :width])


def _caption(panel: np.ndarray, name: str, legend: str, right: int) -> np.ndarray:
    """Write the panel's name (if it fits) and its legend, the latter right-aligned to a column."""
    base, left = panel.shape[0] - 10, right - text_width(legend)
    texts = [(name, 8)] if 8 + text_width(name) + 8 < left else []
    for text, x in [*texts, (legend, left)]:
        for shade, thickness in ((WHITE, 3), (BLACK, 1)):  # black with a white outline
            cv2.putText(
                panel, text, (x, base), cv2.FONT_HERSHEY_SIMPLEX, 0.5, shade, thickness, cv2.LINE_AA
            )
    return panel
