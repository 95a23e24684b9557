"""Frames with detections, masks, key-frame marks and panels of flow and scale field."""

from collections.abc import Sequence
from functools import cache
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from semidff.inference.methods import MethodError, VideoMethod, methods_where
from semidff.utils.frame_size import frame_size
from semidff.utils.logs import log_warning

from .color_maps import SCALE_COLORS, channel_mean, colored, flow_colors, flow_wheel, rounded_up

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
KEY_COLOR = (0, 200, 255)  # BGR
LARGEST = 2**15  # pixels; OpenCV takes 32 bits
MASK_WEIGHT = 0.5
MAX_BOXES = 20  # of a scaled frame
NO_BOXES = InstanceData(scores=torch.zeros(0))
TEXT_SIZE = 14  # pixels
FULL_FLOW = 0.5  # cells; the color scale of the flow never ends below this
FULL_SCALE = 0.05  # likewise for the deviation of the scale field from one


def class_color(label: int) -> tuple[int, int, int]:
    """Return the BGR color of a class or a track id; consecutive numbers differ clearly in hue."""
    hue = int(label * 180 * 0.618034) % 180
    pixel = cv2.cvtColor(np.array([[[hue, 200, 255]]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0]
    return tuple(int(value) for value in pixel)


def render_frame(
    image: np.ndarray,
    sample: DetDataSample,
    classes: Sequence[str],
    score_thr: float = 0.3,
    panels: Sequence[str] = (),
) -> np.ndarray:
    """Draw a frame with its detections and masks, or the colors of its labels.

    Boxes with an identity (``instances_id``) have its color and number, others the color of their
    class. Pixels of a class that is called ``background`` keep their colors.

    Args:
        image: (H, W, 3) uint8, BGR; not modified.
        sample: With ``pred_instances`` or ``pred_sem_seg`` in pixels of the image, ``is_key_frame``
            (False if missing) and, for panels, ``feature_flow`` (2, h, w) in cells and
            ``scale_field`` (1, h, w); without them (key frames) no motion and a scale of one are
            drawn.
        panels: Panels beside the frame, of :data:`PANELS`.

    Returns:
        (H, (1 + number of panels) W, 3) uint8, BGR.
    """
    canvas = image.copy()
    height, width = canvas.shape[:2]
    if 'pred_sem_seg' in sample:
        labels = sample.pred_sem_seg.data[0].cpu().numpy()
        count = max(len(classes), labels.max() + 1)
        colors = np.array([class_color(label) for label in range(count)], np.uint8)
        painted = np.array(
            [label >= len(classes) or classes[label] != 'background' for label in range(count)]
        )
        mixed = cv2.addWeighted(canvas, 1 - MASK_WEIGHT, colors[labels], MASK_WEIGHT, 0)
        canvas = np.where(painted[labels][..., None], mixed, canvas)
    instances = sample.get('pred_instances', NO_BOXES).cpu()
    for index in torch.argsort(instances.scores).tolist():  # the best on top
        score = float(instances.scores[index])
        if score < score_thr:
            continue
        label = int(instances.labels[index])
        identity = int(instances.instances_id[index]) if 'instances_id' in instances else -1
        color = class_color(label if identity < 0 else identity)
        if 'masks' in instances:
            mask = instances.masks[index].numpy()
            canvas[mask] = (1 - MASK_WEIGHT) * canvas[mask] + MASK_WEIGHT * np.array(color)
        corners = instances.bboxes[index].clamp(-LARGEST, LARGEST)
        x1, y1, x2, y2 = (round(value) for value in corners.tolist())
        cv2.rectangle(canvas, (x1, y1), (x2, y2), color, 2)
        name = classes[label] if label < len(classes) else f'class {label}'
        number = f' #{identity}' if identity >= 0 else ''
        _label(canvas, name, f'{number} {score:.2f}', (x1, y1), color)
    if sample.get('is_key_frame', False):
        thickness = max(3, min(height, width) // 80)
        cv2.rectangle(canvas, (0, 0), (width - 1, height - 1), KEY_COLOR, thickness)
        _label(canvas, 'KEY', '', (thickness, thickness + 19), KEY_COLOR)
    for field, draw in (PANELS[name] for name in panels):
        drawn = draw(sample.get(field), height, width, covered_share(sample))
        canvas = np.concatenate([canvas, drawn], axis=1)
    return canvas


def render_scaled(
    image: np.ndarray,
    prediction: InstanceData | PixelData,
    classes: Sequence[str],
    width: int,
    is_key: bool = False,
    score_thr: float = 0.3,
) -> np.ndarray:
    """Scale a frame to a width and draw its labels or its :data:`MAX_BOXES` best detections.

    Lines and text have the same size at any scale.
    """
    zoom = width / image.shape[1]
    size = (width, max(round(image.shape[0] * zoom), 1))
    method = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    sample = DetDataSample(metainfo=dict(is_key_frame=is_key))
    if isinstance(prediction, PixelData):
        labels = F.interpolate(prediction.data[None].float(), size[::-1], mode='nearest')[0]
        sample.pred_sem_seg = PixelData(data=labels.long())
    else:
        best = prediction[prediction.scores.topk(min(MAX_BOXES, len(prediction))).indices]
        best = InstanceData(bboxes=best.bboxes * zoom, scores=best.scores, labels=best.labels)
        sample.pred_instances = best
    return render_frame(cv2.resize(image, size, interpolation=method), sample, classes, score_thr)


@cache
def drawable(name: str) -> tuple[str, ImageFont.FreeTypeFont]:
    """Return a class name as it is drawn, and the first font that has all of its letters.

    Where no font has them, they are drawn as their code points (``\\u6c7d``), which a warning says.
    """
    # Here, since results without pictures need none of it.
    import matplotlib
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    own = Path(matplotlib.get_data_path(), 'fonts', 'ttf', 'DejaVuSans.ttf')
    fonts = font_manager.fontManager.ttflist
    others = (font.fname for font in fonts if not font.name.startswith('Last Resort'))  # only boxes
    for path in chain([own], others):
        try:
            if {*map(ord, name)} <= FT2Font(path).get_charmap().keys():
                return name, ImageFont.truetype(path, TEXT_SIZE)
        except (OSError, RuntimeError):  # bitmap and damaged fonts
            continue
    escaped = name.encode('ascii', 'backslashreplace').decode()
    log_warning(
        f'No installed font has all letters of the class name {name!r}, which is drawn as {escaped}'
    )
    return escaped, ImageFont.truetype(own, TEXT_SIZE)


def _label(canvas: np.ndarray, name: str, score: str, corner: tuple, color: tuple) -> None:
    """Write a name and a score on a filled strip above a corner, inside of the picture."""
    name, font = drawable(name)
    width = round(font.getlength(name + score))
    left, top = max(min(corner[0] - 1, canvas.shape[1] - width - 5), 0), max(corner[1] - 18, 0)
    blue, green, red = color
    ink = BLACK if 0.11 * blue + 0.59 * green + 0.3 * red > 110 else WHITE
    strip = Image.new('RGB', (width + 4, 18), color)  # BGR, like the canvas
    ImageDraw.Draw(strip).text((2, 13), name + score, ink, font, anchor='ls')
    place = canvas[top : top + 18, left : left + width + 4]
    place[:] = np.asarray(strip)[: place.shape[0], : place.shape[1]]


def flow_panel(
    flow: Tensor | None, height: int, width: int, covered: tuple[float, float] = (1.0, 1.0)
) -> np.ndarray:
    """Draw feature flow (2, h, w) in cells at the size of the frame; None: no motion.

    Args:
        covered: Share of the map's rows and columns that the frame covers; the rest, padding, is
            cut off.

    Returns:
        (height, width, 3) uint8, BGR. The wheel's edge is the first of 0.5, 1, 2, 4, ... cells that
        no vector exceeds.
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
    """Draw the mean of a scale field (C, h, w) at the size of the frame; None: one everywhere.

    Returns:
        (height, width, 3) uint8, BGR. Gray is one, blue is below, red above; the color limits are
        the first of 1 -+ 0.05, 0.1, 0.2, ... that no value exceeds.
    """
    mean = channel_mean(torch.ones(1, 1, 1) if scale is None else scale)
    spread = rounded_up(float(np.abs(mean - 1).max()), FULL_SCALE)
    limits = 1 - spread, 1 + spread
    panel = _resized(colored(mean, limits, SCALE_COLORS), height, width, covered)
    size = max(width // 6, 9)
    bar = colored(np.linspace(*limits, size)[None], limits, SCALE_COLORS)[..., ::-1]
    left, top = width - size - 8, height - 20  # 12 pixels high
    panel[top : top + 12, left : left + size] = bar
    cv2.rectangle(panel, (left - 1, top - 1), (left + size, top + 12), BLACK, 1, cv2.LINE_AA)
    return _caption(panel, 'scale field', f'1 +- {spread:g}', left - 6)


PANELS = {'flow': ('feature_flow', flow_panel), 'scale': ('scale_field', scale_panel)}
"""Panels by name: the field of the result that is shown, and the function that draws it."""


def check_panels(panels: Sequence[str], method: VideoMethod) -> None:
    """Raise a MethodError if results of a method lack the field of a panel."""
    if unknown := set(panels) - PANELS.keys():
        raise MethodError(f'unknown panels {sorted(unknown)}; choose from {", ".join(PANELS)}')
    if panels and not method.propagates:
        able = methods_where(lambda kind: kind.propagates)
        raise MethodError(
            f'this method propagates no features, so the panels {", ".join(panels)} would be '
            f'empty: leave them out, or choose one of {", ".join(able)}'
        )
    if 'scale' in panels and getattr(method.executor.model.temporal, 'scale', None) is None:
        raise MethodError('this model has no scale field; leave out the panel scale')


def covered_share(sample: DetDataSample) -> tuple[float, float]:
    """Return the shares of the input's rows and columns that the frame covers."""
    padded = sample.get('batch_input_shape')
    if not padded or not sample.get('img_shape'):
        return 1.0, 1.0
    height, width = frame_size(sample)
    return height / padded[0], width / padded[1]


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
    style = cv2.FONT_HERSHEY_SIMPLEX, 0.5
    name_width, legend_width = (cv2.getTextSize(text, *style, 1)[0][0] for text in (name, legend))
    base, left = panel.shape[0] - 10, right - legend_width
    texts = [(name, 8)] if 8 + name_width + 8 < left else []
    for text, x in [*texts, (legend, left)]:
        for shade, thickness in ((WHITE, 3), (BLACK, 1)):  # black with a white outline
            cv2.putText(panel, text, (x, base), *style, shade, thickness, cv2.LINE_AA)
    return panel
