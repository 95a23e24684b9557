"""Key-frame schedules, registered in ``TASK_UTILS``: the decision which frames are key frames.

The adaptive schedule predicts the relative feature error |f - f'| / |f|, with the features f of the
feature network on the current frame and the propagated features f'. Its logarithm is modeled as a
linear function of four statistics of the flow field, fitted on unlabeled videos
(:mod:`semidff.inference.schedule_fit`).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.registry import TASK_UTILS
from torch import Tensor

from semidff.datasets.video_readers import Frame
from semidff.models.key_frame import FlowField
from semidff.models.temporal import warp
from semidff.utils.atomic_write import read_json, write_json
from semidff.utils.frame_size import frame_size

from .schedule import KeyFrameSchedule

STATISTICS = ('motion', 'roughness', 'scaling', 'residual')

_CHANNELS = 128  # of the scale field that are read, roughly at most
_SAMPLES = 48  # sampled pixels along the shorter side
_GRID = 8  # cells of the thumbnail along each side
_BITS = 2  # per color channel of the histogram
_LEAST_BRIGHT, _DARKEST = 128, 48  # 99th percentile to which darker frames are raised, and least


class ScheduleError(ValueError):
    """An invalid setting of a schedule, or a file that holds none."""


def build_schedule(schedule: KeyFrameSchedule | dict | int) -> KeyFrameSchedule:
    """Return a schedule, given as itself, as a config for ``TASK_UTILS``, or as the interval of a
    fixed one.
    """
    if isinstance(schedule, KeyFrameSchedule):
        return schedule
    if not isinstance(schedule, dict):
        schedule = dict(type='FixedSchedule', interval=schedule)
    return TASK_UTILS.build(schedule)


def schedule_config(
    key_interval: int, adaptive: str | None = None, scene_cuts: bool = False
) -> dict | None:
    """Return the config of a schedule from command-line options; None for a fixed interval.

    ``adaptive`` is the file of an :class:`AdaptiveSchedule`, whose average interval is
    ``key_interval``.
    """
    config = None
    if adaptive:
        config = dict(type='AdaptiveSchedule', file=adaptive, interval=key_interval)
    if scene_cuts:
        config = dict(type='SceneCutSchedule', base=config or key_interval)
    return config


@TASK_UTILS.register_module()
class FixedSchedule(KeyFrameSchedule):
    """Schedule with a key frame ``interval`` frames after the last one (DFF section 3).

    Args:
        interval: Key-frame interval l in frames; with 1, every frame is a key frame.
        first: Frames from the first key frame of a stream to the second; None for ``interval``. On
            few or short videos, the accuracy depends on which frames are key frames; averaging over
            several values of ``first`` reduces this variance.
    """

    def __init__(self, interval: int, first: int | None = None) -> None:
        first = interval if first is None else first
        for name, number in (('key-frame interval', interval), ('first key-frame interval', first)):
            if number != int(number) or number < 1:
                raise ScheduleError(f'the {name} is {number!r}; it must be an integer >= 1')
        self.interval, self.first = int(interval), int(first)
        self.longest = max(self.interval, self.first)

    def is_key(self, frame: Frame, distance: int) -> bool:
        return distance >= (self.first if distance == frame.number else self.interval)


def flow_statistics(flow_field: FlowField) -> Tensor:
    """Return the :data:`STATISTICS` (N, 4) of flow fields, all of them 0 on still frames:

    - *motion*: log(1 + mean length of the feature flow in half pixels of the flow network's input;
      for FlowNet in pixels of the frame);
    - *roughness*: log(1 + mean difference of neighboring cells' flow in pixels);
    - *scaling*: mean of |S - 1| over up to about 128 channels; 0 without scale field;
    - *residual*: mean difference of the current image and the key image warped by the flow,
      relative to the current image's standard deviation; both at twice the flow's resolution.
    """
    flow = flow_field.flow.float()
    pixels = flow * (2 * flow_field.current.shape[-2] / flow.shape[-2])
    steps = [pixels.diff(dim=2), pixels.diff(dim=3)]
    roughness = sum(_mean(step.norm(dim=1)) for step in steps) / 2
    scaling, scale = flow.new_zeros(len(flow)), flow_field.scale
    if scale is not None:
        scaling = _mean((scale[:, :: max(1, scale.shape[1] // _CHANNELS)].float() - 1).abs())
    size = [2 * side for side in flow.shape[-2:]]
    key, current = (
        F.interpolate(image.float(), size=size, mode='area')
        for image in (flow_field.key, flow_field.current)
    )
    warped = warp(key, 2 * F.interpolate(flow, size=size, mode='bilinear'))
    contrast = current.flatten(2).std(dim=2).mean(dim=1).clamp(min=1e-6)
    residual = _mean((current - warped).abs()) / contrast
    motion = _mean(pixels.norm(dim=1))
    return torch.stack((motion.log1p(), roughness.log1p(), scaling, residual), dim=1)


def _mean(maps: Tensor) -> Tensor:
    return maps.flatten(1).mean(dim=1)


@dataclass(frozen=True)
class ErrorPredictor:
    """Predictor of the relative feature error, with the calibration of its tolerance.

    Attributes:
        weights: Weights of the :data:`STATISTICS`.
        bias: Logarithm of the error where all statistics are 0.
        tolerances: Tolerated relative errors, ascending.
        intervals: Average key-frame interval at each tolerance, measured on unlabeled videos with
            ``max_interval``.
    """

    weights: Sequence[float]
    bias: float
    tolerances: Sequence[float] = ()
    intervals: Sequence[float] = ()
    max_interval: int = 30

    def __call__(self, flow_field: FlowField) -> Tensor:
        """Return the predicted relative feature errors (N,), above 0."""
        return self.of_statistics(flow_statistics(flow_field))

    def of_statistics(self, statistics: Tensor) -> Tensor:
        """Return the predicted errors (N,) from statistics (N, 4)."""
        # Not a matrix product, which autocast would compute in half precision.
        weights = statistics.new_tensor(list(self.weights))
        return ((statistics * weights).sum(dim=1) + self.bias).exp()

    def tolerance_for(self, interval: float) -> float:
        """Return the tolerance for an average key-frame interval by interpolation."""
        known = self.intervals
        if not known or not known[0] <= interval <= known[-1]:
            reach = f'{known[0]:.3g} to {known[-1]:.3g}' if known else 'none'
            raise ScheduleError(
                f'the adaptive schedule was calibrated for average key-frame intervals {reach}, '
                f'not for {interval:g}: choose one of these, or fit it on longer videos '
                '(tools/analysis/fit_adaptive.py)'
            )
        return float(np.interp(interval, known, self.tolerances))

    def save(self, path: str | Path) -> None:
        """Write a JSON file for :meth:`load`."""
        write_json(dict(statistics=STATISTICS, **asdict(self)), path, indent=2)

    @classmethod
    def load(cls, path: str | Path) -> 'ErrorPredictor':
        """Read a file written by :meth:`save`."""
        content = read_json(path)
        if not isinstance(content, dict) or tuple(content.pop('statistics', ())) != STATISTICS:
            raise ScheduleError(f'{path}: not written by tools/analysis/fit_adaptive.py')
        read = cls(**content)
        known = read.tolerances, read.intervals
        ascend = all(list(values) == sorted(values) for values in known)
        if not ascend or len(known[0]) != len(known[1]) or read.max_interval < 1:
            raise ScheduleError(
                f'{path}: tolerances and intervals must ascend, max_interval must be at least 1'
            )
        return read


@TASK_UTILS.register_module()
class AdaptiveSchedule(KeyFrameSchedule):
    """Schedule that makes the frame after one with a large predicted feature error a key frame (DFF
    section 6).

    The error is predicted from the flow field that propagation computes anyway. It decides about
    the *next* frame, so that each flow field is used; the error grows steadily, so that this costs
    little accuracy. For scene cuts, where the error jumps, wrap this schedule in a
    :class:`SceneCutSchedule`.

    Args:
        file: File written by ``tools/analysis/fit_adaptive.py``, or the error predictor itself.
        interval: Average key-frame interval; the predictor's calibration gives the tolerance.
        tolerance: Predicted relative feature error that makes the next frame a key frame, in place
            of ``interval``.
        max_interval: Longest interval; None for that of the calibration.
    """

    observes = True

    def __init__(
        self,
        file: str | ErrorPredictor,
        interval: float | None = None,
        tolerance: float | None = None,
        max_interval: int | None = None,
    ) -> None:
        if (interval is None) == (tolerance is None):
            raise ScheduleError(
                f'AdaptiveSchedule takes either interval or tolerance, got {interval=} and '
                f'{tolerance=}'
            )
        self.predictor = file if isinstance(file, ErrorPredictor) else ErrorPredictor.load(file)
        if tolerance is None:
            tolerance = self.predictor.tolerance_for(interval)
        self.tolerance = tolerance
        self.longest = max_interval or self.predictor.max_interval
        self._error: Tensor | float = 0.0  # predicted for the last frame

    def is_key(self, frame: Frame, distance: int) -> bool:
        return distance >= self.longest or float(self._error) >= self.tolerance

    def observe(self, frame: Frame) -> None:
        # Without a conversion to float, which would wait for the GPU between flow and propagation.
        self._error = self.predictor(frame.flow_field)

    def note_key(self, frame: Frame) -> None:
        self._error = 0.0


@TASK_UTILS.register_module()
class SceneCutSchedule(KeyFrameSchedule):
    """Schedule that adds a key frame at each scene cut to those of another schedule.

    Consecutive frames are compared by :func:`scene_change`, which takes a fraction of a millisecond
    and no network, so that the schedule works with every method. Nothing is propagated,
    interpolated or linked across a cut.

    Args:
        base: The other schedule, its config, or a fixed interval.
        threshold: Least change that counts as a cut, in (0, 1]. Measured on ten real videos: at
            most 0.06 between consecutive frames, at least 0.36 between frames of different videos;
            at night (levels of 4 to 58) at most 0.18 and at least 0.24.
    """

    def __init__(self, base: KeyFrameSchedule | dict | int = 10, threshold: float = 0.2) -> None:
        self.base = build_schedule(base)
        self.observes, self.longest = self.base.observes, self.base.longest
        self.threshold = threshold
        self._signature: tuple[Tensor, Tensor] | None = None  # of the last frame

    def is_cut(self, frame: Frame) -> bool:
        before, self._signature = self._signature, frame_signature(frame)
        return before is not None and scene_change(before, self._signature) >= self.threshold

    def is_key(self, frame: Frame, distance: int) -> bool:
        return self.base.is_key(frame, distance)

    def observe(self, frame: Frame) -> None:
        self.base.observe(frame)

    def note_key(self, frame: Frame) -> None:
        if frame.begins_scene:  # is_cut was not called if something else begins it
            self._signature = frame_signature(frame)
        self.base.note_key(frame)


def frame_signature(frame: Frame) -> tuple[Tensor, Tensor]:
    """Return a thumbnail (3, 8, 8) and a normalized histogram of 64 colors (64,) of a frame's
    network input.

    Padding, which would make all frames alike, is left out.
    """
    height, width = frame_size(frame.sample)
    image = frame.inputs[:, :height, :width]  # 0 to 255
    step = max(1, min(image.shape[-2:]) // _SAMPLES)
    pixels = image[:, ::step, ::step].float()
    thumbnail = F.adaptive_avg_pool2d(pixels, _GRID)
    # All of a night scene would be in the lowest level.
    bright = pixels.flatten().kthvalue(max(1, int(0.99 * pixels.numel())))[0]
    gain = (_LEAST_BRIGHT / bright.clamp(min=_DARKEST)).clamp(min=1)
    levels = (pixels * gain).clamp(0, 255).to(torch.uint8).long() >> (8 - _BITS)
    codes = (levels[0] << 2 * _BITS) | (levels[1] << _BITS) | levels[2]
    histogram = torch.bincount(codes.flatten(), minlength=1 << 3 * _BITS).float()
    return thumbnail, histogram / codes.numel()


def scene_change(before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor]) -> float:
    """Return the scene change between two frames, 0 to 1, from their :func:`frame_signature`.

    It is the geometric mean of the histograms' distance, which camera motion hardly affects, and of
    one minus the correlation of the thumbnails, which lighting hardly affects. A cut changes both.
    """
    colors = 0.5 * (before[1] - after[1]).abs().sum()
    first, second = (thumbnail - thumbnail.mean() for thumbnail, _ in (before, after))
    norms = (first.norm() * second.norm()).clamp(min=1e-6)
    layout = (1 - (first * second).sum() / norms).clamp(0, 1)
    layout *= norms / (norms + first.numel())  # noise of a plain frame is no layout
    return float((colors * layout).sqrt())
