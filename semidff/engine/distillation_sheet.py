"""A sheet of pictures of one frame pair of stage two: what the temporal module makes of it."""

from typing import NamedTuple

import cv2
import matplotlib
import numpy as np
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from semidff.inference.drawing import flow_panel, render_frame

PANEL = 480  # width of a panel in pixels
CAPTION = 26  # height of the strip below it


class DistillationView(NamedTuple):
    """What there is to see of a pair.

    Attributes:
        frames (ndarray): Key and current frame, (2, H, W, 3) uint8, BGR.
        flow (Tensor | None): Feature flow (2, h, w) in cells.
        scale (Tensor | None): Scale field (C, h, w).
        key_features (Tensor): (C, h, w), of the first level.
        propagated (Tensor): The student's features of the current frame, likewise.
        target (Tensor): The teacher's, likewise.
        student (InstanceData): Detections on the propagated features, in the frames' pixels.
        teacher (InstanceData): Detections on the teacher's features.
    """

    frames: np.ndarray
    flow: Tensor | None
    scale: Tensor | None
    key_features: Tensor
    propagated: Tensor
    target: Tensor
    student: InstanceData
    teacher: InstanceData


def draw_sheet(
    view: DistillationView,
    names: tuple[str, str],
    classes: tuple[str, ...] = (),
    score_thr: float = 0.3,
    max_boxes: int = 20,
) -> np.ndarray:
    """Draws the sheet.

    Args:
        view (DistillationView): The pair.
        names (tuple[str, str]): What key frame and current frame are called.
        classes (tuple[str]): Class names.
        score_thr (float): Boxes with lower scores are not drawn.
        max_boxes (int): At most this many boxes, the best ones, are drawn on a frame.

    Returns:
        ndarray: RGB, uint8; two rows of four panels.
    """
    zoom = PANEL / view.frames.shape[2]
    size = (PANEL, round(view.frames.shape[1] * zoom))
    key, current = (cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in view.frames)

    def with_boxes(detections: InstanceData) -> np.ndarray:
        best = detections[detections.scores.topk(min(max_boxes, len(detections))).indices]
        best = InstanceData(bboxes=best.bboxes * zoom, scores=best.scores, labels=best.labels)
        sample = DetDataSample(pred_instances=best)
        return render_frame(current, sample, classes, is_key=False, score_thr=score_thr)

    panels = [
        _panel(key, f'key frame {names[0]}'),
        _panel(with_boxes(view.teacher), f'current frame {names[1]}, teacher'),
        _panel(with_boxes(view.student), f'current frame {names[1]}, student'),
        _flow(view.flow, size),
        *_features(view, size),
        _scale(view.scale, size),
    ]
    rows = [np.concatenate(panels[i : i + 4], axis=1) for i in (0, 4)]
    return np.ascontiguousarray(np.concatenate(rows)[..., ::-1])


def _flow(flow: Tensor | None, size: tuple[int, int]) -> np.ndarray:
    if flow is None:
        return _panel(_black(size), 'no feature flow')
    longest = float(flow.float().norm(dim=0).max())
    return _panel(flow_panel(flow, *size[::-1]), f'feature flow, up to {longest:.2f} cells')


def _scale(scale: Tensor | None, size: tuple[int, int]) -> np.ndarray:
    if scale is None:
        return _panel(_black(size), 'no scale field')
    mean = _channel_mean(scale)
    spread = max(float(np.abs(mean - 1).max()), 1e-3)
    picture = _coloured(mean, 1 - spread, 1 + spread, 'coolwarm', size)
    return _panel(picture, f'scale field, mean {mean.min():.3f} .. {mean.max():.3f} (grey: 1)')


def _features(view: DistillationView, size: tuple[int, int]) -> list[np.ndarray]:
    """Key, propagated and teacher features in the same colours, whose range the teacher sets."""
    maps = dict(key=view.key_features, propagated=view.propagated, teacher=view.target)
    maps = {name: _channel_mean(features) for name, features in maps.items()}
    low, high = np.percentile(maps['teacher'], (1, 99))
    error = np.abs(maps['propagated'] - maps['teacher']).mean()
    before = np.abs(maps['key'] - maps['teacher']).mean()
    captions = dict(
        key=f'key features, off by {before:.3g}',
        propagated=f'propagated features, off by {error:.3g}',
        teacher=f'teacher features, {low:.3g} .. {high:.3g}',
    )
    return [
        _panel(_coloured(values, low, high, 'viridis', size), captions[name])
        for name, values in maps.items()
    ]


def _channel_mean(features: Tensor) -> np.ndarray:
    return features.detach().float().mean(0).cpu().numpy()


def _coloured(
    values: np.ndarray, low: float, high: float, colours: str, size: tuple[int, int]
) -> np.ndarray:
    """A map (h, w) as a BGR picture of a panel's size; cells stay visible as squares."""
    position = (values - low) / max(high - low, 1e-12)
    picture = (matplotlib.colormaps[colours](position)[..., 2::-1] * 255).astype(np.uint8)
    return cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST)


def _black(size: tuple[int, int]) -> np.ndarray:
    return np.zeros((size[1], size[0], 3), np.uint8)


def _panel(picture: np.ndarray, caption: str) -> np.ndarray:
    strip = np.zeros((CAPTION, PANEL, 3), np.uint8)
    white, font = (255, 255, 255), cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(strip, caption, (6, CAPTION - 8), font, 0.5, white, 1, cv2.LINE_AA)
    return np.concatenate((picture, strip))
