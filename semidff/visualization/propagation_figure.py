"""A figure of what the temporal module does: two rows of panels for each current frame."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg  # no display, no global state
from matplotlib.figure import Figure, SubFigure
from mmengine.structures import InstanceData

from .color_maps import (
    ERROR_COLORS,
    FEATURE_COLORS,
    SCALE_COLORS,
    channel_mean,
    flow_colors,
    flow_wheel,
    scale_limits,
)
from .frames import render_scaled
from .propagation_view import PairView

PANEL = 3.6  # width of a panel in inches
PIXELS = 480  # and of a frame in it, so that names of boxes can be read
ARROWS = 24  # arrows in a row of the flow, at most
OUTSIDE = 1.03  # where legends stand, in widths of a panel


class Look(NamedTuple):
    """How the figure is drawn.

    Attributes:
        classes: Class names.
        score_thr: Detections with lower scores are not drawn.
        max_boxes: At most this many, the best ones, are drawn on a frame.
        arrows: Whether the flow has arrows, from each cell to where its features come from.
        dpi: Dots per inch.
    """

    classes: tuple[str, ...] = ()
    score_thr: float = 0.3
    max_boxes: int = 20
    arrows: bool = False
    dpi: int = 110


def save_propagation(
    views: Sequence[PairView], names: Sequence[tuple[str, str]], path: str | Path, look: Look
) -> Figure:
    """Draws pairs one below the other and writes the figure.

    The eight panels of a pair: key frame and current frame with their boxes, feature flow, scale field;
    features before the warp, after warp and scale, and of the feature network on the current frame
    itself, all three in the same colors; and where the second differ from the third.

    Args:
        views (Sequence[PairView]): The pairs.
        names (Sequence[tuple[str, str]]): What key frame and current frame of each are called.
        path (str | Path): The picture, in a format that matplotlib writes; folders are made.
        look (Look): How it is drawn.

    Returns:
        Figure: What was written.
    """
    height, width = views[0].frames.shape[1:3]
    row = PANEL * height / width + 0.5  # and the title
    figure = Figure((4 * PANEL + 2.2, 2 * row * len(views)), dpi=look.dpi, layout='constrained')
    FigureCanvasAgg(figure)
    blocks = np.atleast_1d(figure.subfigures(len(views), 1))
    for block, view, name in zip(blocks, views, names, strict=True):
        _draw_pair(block, view, name, look)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return figure


def _draw_pair(block: SubFigure, view: PairView, names: tuple[str, str], look: Look) -> None:
    frames, features = block.subplots(2, 4)
    for axes in (*frames, *features):
        axes.set(xticks=[], yticks=[])
    _frame(frames[0], view.frames[0], view.key, True, look)
    _title(frames[0], f'key frame {names[0]}', 'boxes of the spatial module')
    _frame(frames[1], view.frames[1], view.student, False, look)
    _title(frames[1], f'current frame {names[1]}', 'boxes from propagated features')
    _flow(frames[2], view, look)
    _scale(frames[3], view)
    _features(features[:3], view)
    _error(features[3], view)


def _frame(
    axes: Axes, image: np.ndarray, detections: InstanceData, is_key: bool, look: Look
) -> None:
    drawn = render_scaled(
        image, detections, look.classes, PIXELS, is_key, look.score_thr, look.max_boxes
    )
    axes.imshow(cv2.cvtColor(drawn, cv2.COLOR_BGR2RGB))


def _flow(axes: Axes, view: PairView, look: Look) -> None:
    flow = view.visible(view.pixel_flow())
    longest = float(flow.norm(dim=0).max())
    _map(axes, view, view.pixel_flow(), flow_colors(view.pixel_flow(), longest))
    if look.arrows:
        _arrows(axes, view, flow)
    mean = view.mean_motion()
    cells = float(view.visible(view.flow).norm(dim=0).mean())
    _title(
        axes,
        'feature flow, from current to key frame',
        f'mean {mean:.1f} pixels ({cells:.2f} cells)',
    )
    _wheel(axes, longest)


def _arrows(axes: Axes, view: PairView, flow: torch.Tensor) -> None:
    """Arrows from cells of the current frame to where their features were in the key frame."""
    height, width = _extent(view)
    step = max(1, -(-flow.shape[-1] // ARROWS))
    rows, columns = np.mgrid[step // 2 : flow.shape[-2] : step, step // 2 : flow.shape[-1] : step]
    x = (columns + 0.5) * width / view.flow.shape[-1]
    y = (rows + 0.5) * height / view.flow.shape[-2]
    u, v = flow[:, rows, columns].numpy()
    axes.quiver(
        x, y, u, v, angles='xy', scale_units='xy', scale=1, color='black', alpha=0.75, width=0.003
    )


def _wheel(axes: Axes, longest: float) -> None:
    """The legend of the flow's colors: its edge is the longest vector."""
    legend = axes.inset_axes([OUTSIDE, 0.3, 0.3, 0.4])
    picture, inside = flow_wheel(160)
    alpha = inside[..., None] * np.uint8(255)
    legend.imshow(np.concatenate((picture, alpha), axis=-1), extent=(-1, 1, 1, -1))
    legend.annotate(
        '', (1, 0), (0, 0), arrowprops=dict(arrowstyle='->', shrinkA=0, shrinkB=0, linewidth=0.8)
    )
    legend.set(xticks=[], yticks=[], aspect='equal')
    legend.set_xlabel(f'edge: {longest:.1f} px', fontsize=8)
    legend.spines[:].set_visible(False)


def _scale(axes: Axes, view: PairView) -> None:
    if view.scale is None:
        axes.set_axis_off()
        axes.text(0.5, 0.5, 'no scale field', ha='center', va='center', transform=axes.transAxes)
        _title(axes, 'scale field', 'the temporal module has none')
        return
    limits = scale_limits(channel_mean(view.visible(view.scale)))
    _map(axes, view, view.scale, channel_mean(view.scale), SCALE_COLORS, limits, bar=True)
    _title(
        axes,
        'scale field S, mean over channels',
        f'mean |S \N{MINUS SIGN} 1| = {view.mean_scaling():.3f}',
    )


def _features(panels: Sequence[Axes], view: PairView) -> None:
    limits = view.feature_limits()
    shown = (
        (view.key_features, 'key-frame features, before the warp'),
        (view.propagated, 'propagated: after warp and scale'),
        (view.target, 'teacher: feature network, current frame'),
    )
    for axes, (features, name) in zip(panels, shown, strict=True):
        is_target = features is view.target
        values = channel_mean(features)
        _map(axes, view, features, values, FEATURE_COLORS, limits, bar=is_target)
        error = f'relative error {view.feature_error(features):.1%}'
        _title(axes, name, 'mean over channels' if is_target else error)


def _error(axes: Axes, view: PairView) -> None:
    """The error of propagated features, on the scale of what the key frame's would have."""
    errors = view.error_map(view.propagated)
    unmoved = view.visible(view.error_map(view.key_features))
    highest = float(np.percentile(torch.maximum(view.visible(errors), unmoved).numpy(), 99))
    limits = (0.0, max(highest, 1e-6))
    _map(axes, view, errors, errors.numpy(), ERROR_COLORS, limits, bar=True)
    gain = view.feature_error(view.key_features), view.feature_error(view.propagated)
    _title(
        axes,
        'error: propagated against teacher',
        f'{gain[0]:.1%} unmoved, {gain[1]:.1%} propagated',
    )


def _map(
    axes: Axes,
    view: PairView,
    field: torch.Tensor,
    picture: np.ndarray,
    colors: str | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
    bar: bool = False,
) -> None:
    """A map in the frame's proportions, without the cells of the padding; cells stay visible."""
    height, width = _extent(view)
    drawn = axes.imshow(
        picture, cmap=colors, vmin=limits[0], vmax=limits[1], extent=(0, width, height, 0),
        interpolation='nearest',
    )  # fmt: skip
    axes.set(xlim=(0, width * view.covered[1]), ylim=(height * view.covered[0], 0))
    if bar:
        place = axes.inset_axes([OUTSIDE, 0, 0.04, 1])
        axes.figure.colorbar(drawn, cax=place).ax.tick_params(labelsize=8)


def _extent(view: PairView) -> tuple[float, float]:
    """Height and width of the maps in pixels of the frames."""
    height, width = view.frames.shape[1:3]
    return height / view.covered[0], width / view.covered[1]


def _title(axes: Axes, first: str, second: str) -> None:
    axes.set_title(f'{first}\n{second}', fontsize=9)
