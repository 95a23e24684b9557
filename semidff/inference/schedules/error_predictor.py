"""Prediction of the feature error from the flow field, before features are propagated.

The relative feature error is |f - f'| / |f|, with the features f of the feature network on the current frame and the
propagated features f'. Its logarithm is modeled as a linear function of four statistics of the flow field, fitted on
unlabeled videos (:mod:`semidff.inference.schedules.fit`).
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from semidff.models.key_frame import FlowField
from semidff.models.temporal import warp
from semidff.utils.atomic_write import write_json

from .base import ScheduleError

_CHANNELS = 128  # of the scale field that are read, roughly at most
STATISTICS = ('motion', 'roughness', 'scaling', 'residual')


def flow_statistics(flow_field: FlowField) -> Tensor:
    """Return the :data:`STATISTICS` (N, 4) of flow fields, all of them 0 on still frames:

    - *motion*: log(1 + mean length of the feature flow in half pixels of the flow network's input; for FlowNet in
      pixels of the frame);
    - *roughness*: log(1 + mean difference of neighboring cells' flow in pixels);
    - *scaling*: mean of |S - 1| over up to about 128 channels; 0 without scale field;
    - *residual*: mean difference of the current image and the key image warped by the flow, relative to the current
      image's standard deviation; both at twice the flow's resolution.
    """
    flow = flow_field.flow.float()
    pixels = flow * (2 * flow_field.current.shape[-2] / flow.shape[-2])
    steps = [pixels.diff(dim=2), pixels.diff(dim=3)]
    roughness = sum(_mean(step.norm(dim=1)) for step in steps) / 2
    scaling, scale = flow.new_zeros(len(flow)), flow_field.scale
    if scale is not None:
        scaling = _mean((scale[:, :: max(1, scale.shape[1] // _CHANNELS)].float() - 1).abs())
    columns = (
        _mean(pixels.norm(dim=1)).log1p(),
        roughness.log1p(),
        scaling,
        _residual(flow_field),
    )
    return torch.stack(columns, dim=1)


def _mean(maps: Tensor) -> Tensor:
    return maps.flatten(1).mean(dim=1)


def _residual(flow_field: FlowField) -> Tensor:
    size = [2 * side for side in flow_field.flow.shape[-2:]]
    key, current = (
        F.interpolate(image.float(), size=size, mode='area')
        for image in (flow_field.key, flow_field.current)
    )
    flow = 2 * F.interpolate(flow_field.flow.float(), size=size, mode='bilinear')
    contrast = current.flatten(2).std(dim=2).mean(dim=1)
    return _mean((current - warp(key, flow)).abs()) / contrast.clamp(min=1e-6)


@dataclass(frozen=True)
class ErrorPredictor:
    """Predictor of the relative feature error, with the calibration of its tolerance.

    Attributes:
        weights: Weights of the :data:`STATISTICS`.
        bias: Logarithm of the error where all statistics are 0.
        tolerances: Tolerated relative errors, ascending.
        intervals: Average key-frame interval at each tolerance, measured on unlabeled videos.
        max_interval: Longest key-frame interval in this measurement.
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
        """Return the tolerance for an average key-frame interval, interpolated in the calibration.

        Raises:
            ScheduleError: If the interval is outside of the calibrated range.
        """
        known = [(i, t) for i, t in zip(self.intervals, self.tolerances, strict=True)]
        if not known or not known[0][0] <= interval <= known[-1][0]:
            reach = f'{known[0][0]:.3g} to {known[-1][0]:.3g}' if known else 'none'
            raise ScheduleError(
                f'the adaptive schedule was calibrated for average key-frame intervals {reach}, not for {interval:g}: '
                'choose one of these, or fit it on longer videos (tools/analysis/fit_adaptive.py)'
            )
        for (low, least), (high, most) in zip(known, known[1:], strict=False):
            if low <= interval <= high and high > low:
                return least + (most - least) * (interval - low) / (high - low)
        return known[0][1]

    def save(self, path: str | Path) -> None:
        """Write a JSON file for :meth:`load`."""
        write_json(dict(statistics=STATISTICS, **asdict(self)), path, indent=2)

    @classmethod
    def load(cls, path: str | Path) -> 'ErrorPredictor':
        """Read a file written by :meth:`save`.

        Raises:
            ScheduleError: If there is no such file, or it holds something else.
        """
        try:
            content = json.loads(Path(path).read_text())
            names = tuple(content.pop('statistics'))
            predictor = cls(**content)
            lists = predictor.weights, predictor.tolerances, predictor.intervals
            numbers = [predictor.bias, predictor.max_interval, *(n for each in lists for n in each)]
        except OSError as error:
            raise ScheduleError(
                f'{path}: {error.strerror}; create the file with tools/analysis/fit_adaptive.py'
            ) from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ScheduleError(
                f'{path}: not written by tools/analysis/fit_adaptive.py ({error!r})'
            ) from None
        if names != STATISTICS or len(predictor.weights) != len(STATISTICS):
            raise ScheduleError(
                f'{path}: fitted to the statistics {names} in place of {STATISTICS}; fit it again'
            )
        if (
            not all(type(number) in (int, float) and math.isfinite(number) for number in numbers)
            or len(predictor.tolerances) != len(predictor.intervals)
            or predictor.max_interval < 1
        ):
            raise ScheduleError(
                f'{path}: has values that are no numbers or do not fit; fit it again'
            )
        return predictor
