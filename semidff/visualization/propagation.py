"""Propagation from a key frame to a current frame (semi-DFF Eq. 1), and its figure."""

import copy
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import BaseDataElement
from torch import Tensor

from semidff.models.spatial import SpatialModule
from semidff.models.video_detector import VideoDetector

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
from .frames import FULL_SCALE, covered_share, render_scaled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = 3.6  # width of a panel in inches
MARGIN = 2.2  # width of the legends in inches
PIXELS = 480  # width of a frame, small enough that the labels of boxes can be read
OUTSIDE = 1.03  # left edge of the legends, in widths of a panel


class PairView(NamedTuple):
    """A propagation from a key frame to a current frame.

    Maps cover the network's input, padding included; means are over the cells that the frame
    covers.

    Attributes:
        frames: Key and current frame, (2, H, W, 3) uint8, BGR.
        flow: Feature flow (2, h, w) in cells of the flow network's stride; None if there is none.
        scale: Scale field (C, h, w), likewise.
        key_features: Features of the key frame at one level, (C, h, w), before the warp.
        propagated: Propagated features, likewise.
        target: The teacher's features of the current frame, likewise.
        key: Detections or labels on the key frame, in pixels of ``frames``.
        student: Those on the propagated features, with the settings of non-key frames.
        teacher: Those on the teacher's features.
        cell: Size of a cell of the flow in pixels of ``frames``, x and y.
        covered: Share of the maps' rows and columns that the frame covers.
        names: Numbers of key and current frame, with their distance.
    """

    frames: np.ndarray
    flow: Tensor | None
    scale: Tensor | None
    key_features: Tensor
    propagated: Tensor
    target: Tensor
    key: BaseDataElement
    student: BaseDataElement
    teacher: BaseDataElement
    cell: tuple[float, float] = (16.0, 16.0)
    covered: tuple[float, float] = (1.0, 1.0)
    names: tuple[str, str] = ('', '')

    def visible(self, field: Tensor) -> Tensor:
        """Return the cells (..., h, w) of a map that the frame covers at least in part."""
        rows, columns = (
            int(np.ceil(share * size - 1e-6))
            for share, size in zip(self.covered, field.shape[-2:], strict=True)
        )
        return field[..., :rows, :columns].detach().float().cpu()

    def pixel_flow(self) -> Tensor:
        """Return the flow in pixels of ``frames``."""
        return self.flow * self.flow.new_tensor(self.cell)[:, None, None]

    def mean_motion(self) -> float:
        """Return the mean length of the flow in pixels of ``frames``."""
        return float(self.visible(self.pixel_flow()).norm(dim=0).mean())

    def mean_scaling(self) -> float:
        """Return the mean deviation of the scale field from one, over cells and channels."""
        return float((self.visible(self.scale) - 1).abs().mean())

    def feature_error(self, features: Tensor) -> float:
        """Return the relative error of features against the teacher's, ‖f̂ - f‖ / ‖f‖."""
        target = self.visible(self.target)
        return float((self.visible(features) - target).norm() / target.norm().clamp(min=1e-12))

    def error_map(self, features: Tensor) -> Tensor:
        """Return the error of each cell, (h, w); its root mean square is :meth:`feature_error`."""
        typical = self.visible(self.target).square().sum(0).mean().sqrt().clamp(min=1e-12)
        difference = features.detach().float().cpu() - self.target.detach().float().cpu()
        return difference.norm(dim=0) / typical


@torch.no_grad()
def view_pair(
    model: VideoDetector,
    key: Tensor,
    current: Tensor,
    sample: DetDataSample,
    frames: Sequence[np.ndarray],
    teacher: SpatialModule | None = None,
    level: int = 0,
) -> PairView:
    """Propagate features from a key frame to a current frame and compare them with the teacher's.

    Args:
        model: In evaluation mode.
        key: The preprocessed key frame, (1, 3, H, W), and ``current`` likewise.
        sample: The current frame's, after preprocessing; not modified.
        frames: Both frames for display, in the sample's ``ori_shape``: (2, H, W, 3) uint8, BGR.
        teacher: The detector of the current frame; by default the model's own spatial module.
    """
    teacher = teacher or model.spatial
    first, number = (sample.get(name, 0) for name in ('key_frame_id', 'frame_id'))
    with model.running():
        key_features = model.spatial.features(key, [sample])
        target = teacher.features(current, [sample])
        if not 0 <= level < len(target):
            raise ValueError(
                f'level is {level}; the feature network gives {len(target)} levels, choose 0 to '
                f'{len(target) - 1}'
            )
        propagated = model.propagate(key, current, key_features, [sample])
        temporal, flow, scale = model.temporal, [None], [None]
        if hasattr(temporal, 'fields'):
            flow, scale, _ = temporal.fields(temporal.prepare(key), temporal.prepare(current))
        stride = getattr(getattr(temporal, 'flow_network', None), 'stride', 16)

        def predictions(
            module: SpatialModule, features: tuple[Tensor, ...], test_cfg: dict | None = None
        ) -> BaseDataElement:
            # predict() writes into its sample, so each gets a copy
            result = module.predict(features, [copy.deepcopy(sample)], test_cfg)[0]
            return result.get(module.prediction).cpu()

        return PairView(
            frames=np.stack(frames),
            flow=flow[0],
            scale=None if scale is None else scale[0],
            key_features=key_features[level][0],
            propagated=propagated[level][0],
            target=target[level][0],
            key=predictions(model.spatial, key_features),
            student=predictions(model.spatial, propagated, model.non_key_test_cfg),
            teacher=predictions(teacher, target),
            cell=tuple(stride / factor for factor in sample.get('scale_factor', (1.0, 1.0))),
            covered=covered_share(sample),
            names=(f'{first}', f'{number} ({number - first:+d})'),
        )


def draw_propagation(
    views: Sequence[PairView],
    classes: Sequence[str] = (),
    score_thr: float = 0.3,
    channel: int | None = None,
) -> 'Figure':
    """Draw pairs one below the other, with features of a channel or their mean.

    The panels of a pair: key frame, current frame with the student's and with the teacher's
    detections, feature flow, scale field; key-frame features, propagated features, the teacher's
    features, all three with the same color limits; and the errors of the first two against the
    third, likewise.
    """
    height, width = views[0].frames.shape[1:3]
    row = PANEL * height / width + 0.5  # with its titles
    size = 5 * PANEL + MARGIN, 2 * row * len(views)
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # no display, no global state
    from matplotlib.figure import Figure

    figure = Figure(size, dpi=110, layout='constrained')
    FigureCanvasAgg(figure)
    blocks = np.atleast_1d(figure.subfigures(len(views), 1))
    for block, view in zip(blocks, views, strict=True):
        upper, lower = block.subplots(2, 5)
        for axes in (*upper, *lower):
            axes.set(xticks=[], yticks=[])
        _draw_frames(upper, view, classes, score_thr)
        _draw_features(lower, view, channel)
    return figure


def to_array(figure: 'Figure') -> np.ndarray:
    """Render a figure of :func:`draw_propagation` to an image (H, W, 3) uint8, RGB."""
    figure.canvas.draw()
    return np.array(figure.canvas.buffer_rgba())[..., :3]


def _draw_frames(
    panels: 'Sequence[Axes]', view: PairView, classes: Sequence[str], score_thr: float
) -> None:
    """Draw the frames with their boxes, and the fields."""
    frames = (
        (0, view.key, 'key', 'spatial module'),
        (1, view.student, 'current', 'student: propagated features'),
        (1, view.teacher, 'current', 'teacher: its own features'),
    )
    for axes, (at, found, kind, origin) in zip(panels, frames, strict=False):
        drawn = render_scaled(view.frames[at], found, classes, PIXELS, at == 0, score_thr)
        axes.imshow(drawn[..., ::-1])
        axes.set_title(f'{kind} frame {view.names[at]}\n{origin}', fontsize=9)
    _flow(panels[3], view)
    if view.scale is None:
        _empty(panels[4], 'scale field')
    else:
        limits = scale_limits(channel_mean(view.visible(view.scale)), FULL_SCALE)
        title = 'scale field S, mean over channels\nmean |S \N{MINUS SIGN} 1| = '
        title += f'{view.mean_scaling():.3f}'
        _maps(panels[4:], view, [channel_mean(view.scale)], [title], SCALE_COLORS, limits)


def _draw_features(panels: 'Sequence[Axes]', view: PairView, channel: int | None) -> None:
    """Draw features and their errors."""
    what = 'mean over channels' if channel is None else f'channel {channel}'
    features = dict(zip(('key-frame', 'propagated', 'teacher'), view[3:6], strict=True))
    shown = [each if channel is None else each[[channel]] for each in features.values()]
    limits = feature_limits(*(channel_mean(view.visible(each)) for each in shown))
    titles = [f'{name} features\n{what}' for name in features]
    _maps(panels[:3], view, map(channel_mean, shown), titles, FEATURE_COLORS, limits)
    del features['teacher']
    errors = [view.error_map(each) for each in features.values()]
    largest = torch.maximum(*map(view.visible, errors))
    limits = (0.0, max(float(np.percentile(largest.numpy(), 99)), 1e-6))
    titles = [
        f'error against the teacher, {name} features\nrelative error {view.feature_error(each):.1%}'
        for name, each in features.items()
    ]
    _maps(panels[3:], view, errors, titles, ERROR_COLORS, limits)


def _flow(axes: 'Axes', view: PairView) -> None:
    if view.flow is None:
        _empty(axes, 'feature flow')
        return
    pixels = view.pixel_flow()
    flow = view.visible(pixels)
    longest = float(flow.norm(dim=0).max())
    cells = float(view.visible(view.flow).norm(dim=0).mean())
    mean = f'mean {view.mean_motion():.1f} pixels ({cells:.2f} cells)'
    title = f'feature flow, from current to key frame\n{mean}'
    _maps([axes], view, [flow_colors(pixels, longest)], [title])
    legend = axes.inset_axes([OUTSIDE, 0.3, 0.3, 0.4])
    picture, inside = flow_wheel(160)
    alpha = inside[..., None] * np.uint8(255)
    legend.imshow(np.concatenate((picture, alpha), axis=-1), extent=(-1, 1, 1, -1))
    arrow = dict(arrowstyle='->', shrinkA=0, shrinkB=0, linewidth=0.8)
    legend.annotate('', (1, 0), (0, 0), arrowprops=arrow)
    legend.set(xticks=[], yticks=[], aspect='equal')
    legend.set_xlabel(f'edge: {longest:.1f} px', fontsize=8)
    legend.spines[:].set_visible(False)


def _maps(
    panels: 'Sequence[Axes]',
    view: PairView,
    maps: Iterable[np.ndarray],
    titles: Iterable[str],
    colors: str | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
) -> None:
    """Draw maps with titles, without padding; a color bar follows the last map."""
    height, width = view.frames.shape[1:3]
    whole = (0, width / view.covered[1], height / view.covered[0], 0)
    look = dict(cmap=colors, vmin=limits[0], vmax=limits[1], interpolation='nearest')
    for axes, values, title in zip(panels, maps, titles, strict=True):
        drawn = axes.imshow(values, extent=whole, **look)
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.set_title(title, fontsize=9)
    if colors:
        place = axes.inset_axes([OUTSIDE, 0, 0.04, 1])
        axes.figure.colorbar(drawn, cax=place).ax.tick_params(labelsize=8)


def _empty(axes: 'Axes', name: str) -> None:
    """Mark a panel whose field the temporal module does not have."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, f'no {name}', ha='center', va='center', transform=axes.transAxes)
