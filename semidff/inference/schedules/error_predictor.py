"""How wrong propagated features will be, told from what is known before they are propagated.

Relative feature error |f - f'| / |f| between the features f of the feature network on the current frame and the
propagated ones f'. Its logarithm is a linear function of four statistics of the forecast; the weights are fitted on
unlabeled videos, where the feature network itself gives the truth (:mod:`semidff.engine.adaptive_fit`).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from semidff.models.temporal import warp
from semidff.models.video_detector import Forecast

from .base import ScheduleError

_CHANNELS = 128
STATISTICS = ('motion', 'roughness', 'scaling', 'residual')


def forecast_statistics(forecast: Forecast) -> Tensor:
    """What is looked at of forecasts, (N, 4), all of it near 0 where nothing changes:

    - *motion*: log(1 + mean length of the feature flow in pixels of the network's input);
    - *roughness*: log(1 + mean difference of neighboring cells' flow in pixels);
    - *scaling*: mean of |S - 1|, over no more than some 128 channels; 0 without scale field;
    - *residual*: mean difference of the current image and the key image warped by the flow, relative to the current
      image's standard deviation; both at twice the flow's resolution.
    """
    flow = forecast.flow.float()
    pixels = flow * (2 * forecast.current.shape[-2] / flow.shape[-2])
    steps = [pixels.diff(dim=2), pixels.diff(dim=3)]
    roughness = sum(_mean(step.norm(dim=1)) for step in steps) / 2
    columns = (
        _mean(pixels.norm(dim=1)).log1p(),
        roughness.log1p(),
        _scaling(forecast),
        _residual(forecast),
    )
    return torch.stack(columns, dim=1)


def _mean(maps: Tensor) -> Tensor:
    return maps.flatten(1).mean(dim=1)


def _scaling(forecast: Forecast) -> Tensor:
    scale = forecast.scale
    if scale is None:
        return forecast.flow.new_zeros(len(forecast.flow), dtype=torch.float)
    step = max(1, scale.shape[1] // _CHANNELS)
    return _mean((scale[:, ::step].float() - 1).abs())


def _residual(forecast: Forecast) -> Tensor:
    size = [2 * side for side in forecast.flow.shape[-2:]]
    key, current = (
        F.interpolate(image.float(), size=size, mode='area')
        for image in (forecast.key, forecast.current)
    )
    flow = 2 * F.interpolate(forecast.flow.float(), size=size, mode='bilinear')
    contrast = current.flatten(2).std(dim=2).mean(dim=1)
    return _mean((current - warp(key, flow)).abs()) / contrast.clamp(min=1e-6)


@dataclass(frozen=True)
class ErrorPredictor:
    """Predicts the relative feature error of forecasts, and knows what interval a tolerated error leads to.

    Attributes:
        weights: Of the :data:`STATISTICS`.
        bias: Logarithm of the error where all of them are 0.
        tolerances: Ascending relative errors, for :meth:`tolerance_for`.
        intervals: Average key-frame intervals that they led to on unlabeled videos.
        max_interval: Longest interval in that measurement.
    """

    weights: Sequence[float]
    bias: float
    tolerances: Sequence[float] = ()
    intervals: Sequence[float] = ()
    max_interval: int = 30

    def __call__(self, forecast: Forecast) -> Tensor:
        """Predicted relative feature errors (N,), above 0."""
        return self.of_statistics(forecast_statistics(forecast))

    def of_statistics(self, statistics: Tensor) -> Tensor:
        """The same, (N,), of statistics (N, 4)."""
        return (statistics @ statistics.new_tensor(list(self.weights)) + self.bias).exp()

    def tolerance_for(self, interval: float) -> float:
        """The error to be tolerated for an average key-frame interval, as measured on unlabeled videos.

        Raises:
            ScheduleError: If the measured intervals do not reach that far.
        """
        known = [(i, t) for i, t in zip(self.intervals, self.tolerances, strict=True)]
        if not known or not known[0][0] <= interval <= known[-1][0]:
            reach = f'{known[0][0]:.3g} to {known[-1][0]:.3g}' if known else 'none'
            raise ScheduleError(
                f'an average key-frame interval of {interval:g} is asked for, but the adaptive schedule was calibrated '
                f'for {reach}: choose one of these, or fit it anew on longer videos (tools/analysis/fit_adaptive.py)'
            )
        for (low, least), (high, most) in zip(known, known[1:], strict=False):
            if low <= interval <= high and high > low:
                return least + (most - least) * (interval - low) / (high - low)
        return known[0][1]

    def save(self, path: str | Path) -> None:
        """Writes a json file that :meth:`load` reads."""
        content = dict(statistics=STATISTICS, **asdict(self))
        Path(path).write_text(json.dumps(content, indent=2) + '\n')

    @classmethod
    def load(cls, path: str | Path) -> 'ErrorPredictor':
        """Reads a file of :meth:`save`.

        Raises:
            ScheduleError: If there is no such file, or it is of something else.
        """
        try:
            content = json.loads(Path(path).read_text())
            names = tuple(content.pop('statistics'))
            predictor = cls(**content)
        except OSError as error:
            raise ScheduleError(
                f'{path}: {error.strerror}; make the file with tools/analysis/fit_adaptive.py'
            ) from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ScheduleError(
                f'{path}: no file of tools/analysis/fit_adaptive.py ({error!r})'
            ) from None
        if names != STATISTICS or len(predictor.weights) != len(STATISTICS):
            raise ScheduleError(
                f'{path}: was fitted to the statistics {names}, not to {STATISTICS}; fit it anew'
            )
        return predictor
