"""Frames with detections, instance masks and key-frame marks."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData

from .panels import BLACK, PANELS, WHITE, covered_share, text_width

KEY_COLOR = (0, 200, 255)  # BGR
LARGEST = 2**15  # pixels; OpenCV takes 32 bits
MASK_WEIGHT = 0.5
MAX_BOXES = 20  # of a scaled frame
NO_BOXES = InstanceData(scores=torch.zeros(0))


def class_color(label: int) -> tuple[int, int, int]:
    """Return the BGR color of a class; consecutive classes differ clearly in hue."""
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
    """Draw a frame with its detections and their masks, or the colors of its labels; key frames are marked.

    Pixels of a class that is called ``background`` keep their colors.

    Args:
        image: (H, W, 3) uint8, BGR; not modified.
        sample: With ``pred_instances`` or ``pred_sem_seg`` in pixels of the image, ``is_key_frame`` (False if
            missing) and, for panels, ``feature_flow`` (2, h, w) in cells and ``scale_field`` (1, h, w); without
            them (key frames) no motion and a scale of one are drawn.
        score_thr: Detections with lower scores are not drawn.
        panels: Panels beside the frame, of :data:`~semidff.visualization.panels.PANELS`.

    Returns:
        (H, (1 + number of panels) W, 3) uint8, BGR.
    """
    canvas = image.copy()
    height, width = canvas.shape[:2]
    if 'pred_sem_seg' in sample:
        labels = sample.pred_sem_seg.data[0].cpu().numpy()
        colors = [class_color(label) for label in range(max(len(classes), labels.max() + 1))]
        mixed = cv2.addWeighted(
            canvas, 1 - MASK_WEIGHT, np.array(colors, np.uint8)[labels], MASK_WEIGHT, 0
        )
        painted = [name != 'background' for name in classes] + [True] * (len(colors) - len(classes))
        canvas = np.where(np.array(painted)[labels][..., None], mixed, canvas)
    instances = sample.get('pred_instances', NO_BOXES).cpu()
    for index in torch.argsort(instances.scores).tolist():  # the best on top
        score = float(instances.scores[index])
        if score >= score_thr:
            label = int(instances.labels[index])
            name = classes[label] if label < len(classes) else f'class {label}'
            if 'masks' in instances:
                mask = instances.masks[index].numpy()
                color = np.array(class_color(label))
                canvas[mask] = (1 - MASK_WEIGHT) * canvas[mask] + MASK_WEIGHT * color
            corners = instances.bboxes[index].clamp(-LARGEST, LARGEST)
            x1, y1, x2, y2 = (round(value) for value in corners.tolist())
            cv2.rectangle(canvas, (x1, y1), (x2, y2), class_color(label), 2)
            _label(canvas, f'{name} {score:.2f}', (x1, y1), class_color(label))
    if sample.get('is_key_frame', False):
        thickness = max(3, min(height, width) // 80)
        cv2.rectangle(canvas, (0, 0), (width - 1, height - 1), KEY_COLOR, thickness)
        _label(canvas, 'KEY', (thickness, thickness + 19), KEY_COLOR)
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
    """Scale a frame to ``width`` pixels and draw its best detections, with lines and text of constant size.

    Args:
        prediction: Detections in pixels of the image, of which at most :data:`MAX_BOXES` are drawn, or its labels.

    Returns:
        (h, width, 3) uint8, BGR, with the image's aspect ratio.
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


def _label(canvas: np.ndarray, text: str, corner: tuple[int, int], color: tuple) -> None:
    """Write a text on a filled strip above a corner, shifted to lie inside the picture."""
    left = max(min(corner[0] + 1, canvas.shape[1] - text_width(text) - 3), 2)
    base = max(corner[1] - 5, 13)
    ends = (left - 2, base - 13), (left + text_width(text) + 1, base + 4)
    cv2.rectangle(canvas, *ends, color, cv2.FILLED)
    blue, green, red = color
    ink = BLACK if 0.11 * blue + 0.59 * green + 0.3 * red > 110 else WHITE
    cv2.putText(canvas, text, (left, base), cv2.FONT_HERSHEY_SIMPLEX, 0.5, ink, 1, cv2.LINE_AA)
