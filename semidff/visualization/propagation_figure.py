"""Figure of a propagation: ten panels for each pair of key frame and current frame."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg  # no display, no global state
from matplotlib.figure import Figure, SubFigure

from .color_maps import (
    ERROR_COLORS,
    FEATURE_COLORS,
    SCALE_COLORS,
    channel_mean,
    feature_limits,
    flow_colors,
    flow_wheel,
    scale_limits,
)
from .frames import render_scaled
from .panels import FULL_SCALE
from .propagation_view import PairView

PANEL = 3.6  # width of a panel in inches
MARGIN = 2.2  # width of the legends in inches
PIXELS = 480  # width of a frame, small enough that the labels of boxes can be read
ARROWS = 24  # maximum number of arrows in a row of the flow
OUTSIDE = 1.03  # left edge of the legends, in widths of a panel


class FigureStyle(NamedTuple):
    """Options of the figure.

    Attributes:
        score_thr: Detections with lower scores are not drawn.
        arrows: Whether the flow has arrows, from each cell to the source of its features.
    """

    classes: Sequence[str] = ()
    score_thr: float = 0.3
    arrows: bool = False
    dpi: int = 110


def draw_propagation(
    views: Sequence[PairView], names: Sequence[tuple[str, str]], style: FigureStyle
) -> Figure:
    """Draw pairs one below the other.

    The panels of a pair: key frame, current frame with the student's and with the teacher's detections,
    feature flow, scale field; key-frame features, propagated features, the teacher's features, all three
    with the same color limits; and the errors of the first two against the third, likewise.

    Args:
        views: The pairs.
        names: Names of key frame and current frame of each pair.
    """
    height, width = views[0].frames.shape[1:3]
    row = PANEL * height / width + 0.5  # with its titles
    size = 5 * PANEL + MARGIN, 2 * row * len(views)
    figure = Figure(size, dpi=style.dpi, layout='constrained')
    FigureCanvasAgg(figure)
    blocks = np.atleast_1d(figure.subfigures(len(views), 1))
    for block, view, name in zip(blocks, views, names, strict=True):
        _draw_pair(block, view, name, style)
    return figure


def to_array(figure: Figure) -> np.ndarray:
    """Render a figure of :func:`draw_propagation` to an image (H, W, 3) uint8, RGB."""
    figure.canvas.draw()
    return np.array(figure.canvas.buffer_rgba())[..., :3]


def _draw_pair(
    block: SubFigure, view: PairView, names: tuple[str, str], style: FigureStyle
) -> None:
    upper, lower = block.subplots(2, 5)
    for axes in (*upper, *lower):
        axes.set(xticks=[], yticks=[])
    frames = (
        (view.frames[0], view.key, f'key frame {names[0]}', 'spatial module'),
        (view.frames[1], view.student, f'current frame {names[1]}', 'student: propagated features'),
        (view.frames[1], view.teacher, f'current frame {names[1]}', 'teacher: its own features'),
    )
    for axes, (image, detections, *title) in zip(upper, frames, strict=False):
        is_key = axes is upper[0]
        drawn = render_scaled(image, detections, style.classes, PIXELS, is_key, style.score_thr)
        axes.imshow(cv2.cvtColor(drawn, cv2.COLOR_BGR2RGB))
        _title(axes, *title)
    _flow(upper[3], view, style)
    if view.scale is None:
        _empty(upper[4], 'scale field')
    else:
        limits = scale_limits(channel_mean(view.visible(view.scale)), FULL_SCALE)
        deviation = f'mean |S \N{MINUS SIGN} 1| = {view.mean_scaling():.3f}'
        title = 'scale field S, mean over channels', deviation
        _maps(upper[4:], view, [(channel_mean(view.scale), *title)], SCALE_COLORS, limits)
    features = view.key_features, view.propagated, view.target
    limits = feature_limits(*(channel_mean(view.visible(each)) for each in features))
    names = 'key-frame features', 'propagated features', 'teacher features'
    means = zip(map(channel_mean, features), names, 3 * ['mean over channels'], strict=True)
    _maps(lower[:3], view, list(means), FEATURE_COLORS, limits)
    errors = [view.error_map(each) for each in features[:2]]
    largest = torch.maximum(*(view.visible(error) for error in errors))
    limits = (0.0, max(float(np.percentile(largest.numpy(), 99)), 1e-6))
    titles = (f'error against the teacher, {name}' for name in names[:2])
    relative = (f'relative error {view.feature_error(each):.1%}' for each in features[:2])
    maps = list(zip((error.numpy() for error in errors), titles, relative, strict=True))
    _maps(lower[3:], view, maps, ERROR_COLORS, limits)


def _flow(axes: Axes, view: PairView, style: FigureStyle) -> None:
    if view.flow is None:
        _empty(axes, 'feature flow')
        return
    pixels = view.pixel_flow()
    flow = view.visible(pixels)
    longest = float(flow.norm(dim=0).max())
    cells = float(view.visible(view.flow).norm(dim=0).mean())
    mean = f'mean {view.mean_motion():.1f} pixels ({cells:.2f} cells)'
    title = 'feature flow, from current to key frame', mean
    _maps([axes], view, [(flow_colors(pixels, longest), *title)])
    if style.arrows:
        _arrows(axes, view, flow)
    legend = axes.inset_axes([OUTSIDE, 0.3, 0.3, 0.4])
    picture, inside = flow_wheel(160)
    alpha = inside[..., None] * np.uint8(255)
    legend.imshow(np.concatenate((picture, alpha), axis=-1), extent=(-1, 1, 1, -1))
    arrow = dict(arrowstyle='->', shrinkA=0, shrinkB=0, linewidth=0.8)
    legend.annotate('', (1, 0), (0, 0), arrowprops=arrow)
    legend.set(xticks=[], yticks=[], aspect='equal')
    legend.set_xlabel(f'edge: {longest:.1f} px', fontsize=8)
    legend.spines[:].set_visible(False)


def _arrows(axes: Axes, view: PairView, flow: torch.Tensor) -> None:
    """Draw arrows from cells of the current frame to the source of their features in the key frame."""
    height, width = _extent(view)
    step = max(1, -(-flow.shape[-1] // ARROWS))
    rows, columns = np.mgrid[step // 2 : flow.shape[-2] : step, step // 2 : flow.shape[-1] : step]
    x = (columns + 0.5) * width / view.flow.shape[-1]
    y = (rows + 0.5) * height / view.flow.shape[-2]
    u, v = flow[:, rows, columns].numpy()
    axes.quiver(
        x, y, u, v, angles='xy', scale_units='xy', scale=1, color='black', alpha=0.75, width=0.003
    )


def _maps(
    panels: Sequence[Axes],
    view: PairView,
    maps: Sequence[tuple[np.ndarray, str, str]],
    colors: str | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
) -> None:
    """Draw maps with their titles, without padding and without interpolation; a color bar after the last one."""
    height, width = _extent(view)
    for axes, (picture, *title) in zip(panels, maps, strict=True):
        drawn = axes.imshow(
            picture, cmap=colors, vmin=limits[0], vmax=limits[1], extent=(0, width, height, 0),
            interpolation='nearest',
        )  # fmt: skip
        axes.set(xlim=(0, width * view.covered[1]), ylim=(height * view.covered[0], 0))
        _title(axes, *title)
    if colors:
        place = axes.inset_axes([OUTSIDE, 0, 0.04, 1])
        axes.figure.colorbar(drawn, cax=place).ax.tick_params(labelsize=8)


def _extent(view: PairView) -> tuple[float, float]:
    """Return height and width of the maps in pixels of the frames."""
    height, width = view.frames.shape[1:3]
    return height / view.covered[0], width / view.covered[1]


def _empty(axes: Axes, name: str) -> None:
    """Mark a panel whose field the temporal module does not have."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, f'no {name}', ha='center', va='center', transform=axes.transAxes)


def _title(axes: Axes, first: str, second: str) -> None:
    axes.set_title(f'{first}\n{second}', fontsize=9)
