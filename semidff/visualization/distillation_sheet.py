"""A sheet of pictures of one frame pair of stage two: what the temporal module makes of it."""

import cv2
import numpy as np
from mmengine.structures import InstanceData
from torch import Tensor

from .color_maps import FEATURE_COLORS, channel_mean, colored
from .frames import flow_panel, render_scaled, scale_panel
from .propagation_view import PairView

PANEL = 480  # width of a panel in pixels
CAPTION = 26  # height of the strip below it


def draw_sheet(
    view: PairView,
    names: tuple[str, str],
    classes: tuple[str, ...] = (),
    score_thr: float = 0.3,
    max_boxes: int = 20,
) -> np.ndarray:
    """Draws the sheet.

    Args:
        view (PairView): The pair.
        names (tuple[str, str]): What key frame and current frame are called.
        classes (tuple[str]): Class names.
        score_thr (float): Boxes with lower scores are not drawn.
        max_boxes (int): At most this many boxes, the best ones, are drawn on a frame.

    Returns:
        ndarray: RGB, uint8; two rows of four panels.
    """
    nothing = InstanceData(
        bboxes=view.key.bboxes[:0], scores=view.key.scores[:0], labels=view.key.labels[:0]
    )

    def frame(which: int, detections: InstanceData = nothing) -> np.ndarray:
        image = view.frames[which]
        return render_scaled(image, detections, classes, PANEL, False, score_thr, max_boxes)

    size = (PANEL, frame(0).shape[0])
    panels = [
        _panel(frame(0), f'key frame {names[0]}'),
        _panel(frame(1, view.teacher), f'current frame {names[1]}, teacher'),
        _panel(frame(1, view.student), f'current frame {names[1]}, student'),
        _flow(view, size),
        *_features(view, size),
        _scale(view, size),
    ]
    rows = [np.concatenate(panels[i : i + 4], axis=1) for i in (0, 4)]
    return np.ascontiguousarray(np.concatenate(rows)[..., ::-1])


def _flow(view: PairView, size: tuple[int, int]) -> np.ndarray:
    if view.flow is None:
        return _panel(_black(size), 'no feature flow')
    picture = flow_panel(view.flow, *size[::-1], view.covered)
    return _panel(picture, f'feature flow, mean {view.mean_motion():.1f} pixels')


def _scale(view: PairView, size: tuple[int, int]) -> np.ndarray:
    if view.scale is None:
        return _panel(_black(size), 'no scale field')
    picture = scale_panel(view.scale, *size[::-1], view.covered)
    return _panel(picture, f'scale field, off 1 by {view.mean_scaling():.3f}')


def _features(view: PairView, size: tuple[int, int]) -> list[np.ndarray]:
    """Key, propagated and teacher features in the same colors."""
    limits = view.feature_limits()

    def panel(features: Tensor, caption: str) -> np.ndarray:
        picture = colored(channel_mean(view.visible(features)), limits, FEATURE_COLORS)
        # cells stay visible as squares
        scaled = cv2.resize(picture[..., ::-1].copy(), size, interpolation=cv2.INTER_NEAREST)
        return _panel(scaled, caption)

    return [
        panel(
            view.key_features, f'key features, error {view.feature_error(view.key_features):.1%}'
        ),
        panel(
            view.propagated, f'propagated features, error {view.feature_error(view.propagated):.1%}'
        ),
        panel(view.target, f'teacher features, {limits[0]:.3g} .. {limits[1]:.3g}'),
    ]


def _black(size: tuple[int, int]) -> np.ndarray:
    return np.zeros((size[1], size[0], 3), np.uint8)


def _panel(picture: np.ndarray, caption: str) -> np.ndarray:
    strip = np.zeros((CAPTION, PANEL, 3), np.uint8)
    white, font = (255, 255, 255), cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(strip, caption, (6, CAPTION - 8), font, 0.5, white, 1, cv2.LINE_AA)
    return np.concatenate((picture, strip))
