"""Fits and calibrates adaptive key frames on unlabeled videos.

First the error predictor: for pairs of a key frame and a later frame, the feature network itself tells what the
propagated features should have been. Then the calibration: the schedule is walked through the videos at many
tolerances, which takes flows only, and the average intervals are noted.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from semidff.apis.video_inferencer import VideoInferencer
from semidff.datasets.video_list import VideoInfo
from semidff.inference.methods.base import MethodError
from semidff.models.video_detector import KeyFrame, VideoDetector

from .calibration import calibrate
from .clips import Clip, Clips
from .error_predictor import ErrorPredictor, forecast_statistics

_CHECKED = 5  # every fifth clip is not fitted to
_STRENGTH = 1e-3  # of the ridge, for statistics of unit variance


@dataclass(frozen=True)
class Fit:
    """What came out.

    Attributes:
        predictor: The error predictor with its calibration.
        pairs: Number of pairs that it was fitted to.
        explained: Share of the variance of the logarithm of the error that it explains (R²) on clips that it was
            not fitted to; None if there are fewer than five clips.
        errors: 10th, 50th and 90th percentile of the true relative errors.
    """

    predictor: ErrorPredictor
    pairs: int
    explained: float | None
    errors: tuple[float, float, float]


@torch.no_grad()
def fit_adaptive(
    inferencer: VideoInferencer,
    videos: Sequence[VideoInfo],
    clips: int = 60,
    clip_length: int = 60,
    max_interval: int = 30,
    progress: Callable[[str], None] | None = None,
) -> Fit:
    """Fits the error predictor and calibrates it.

    Args:
        inferencer (VideoInferencer): With method *propagate*.
        videos (Sequence[VideoInfo]): Unlabeled videos.
        clips (int): How many clips of them are used.
        clip_length (int): Frames of a clip.
        max_interval (int): Longest key-frame interval.
        progress (Callable | None): Is told what has been done.

    Raises:
        MethodError: The model has no temporal module.
        ValueError: Not a single pair of frames could be read, or the numbers make no sense.
    """
    if not inferencer.model.has_temporal:
        raise MethodError('the model has no temporal module: nothing is propagated')
    if max_interval < 2:
        raise ValueError(f'max_interval is {max_interval}; it must be at least 2')
    tell = progress or (lambda text: None)
    source = Clips(inferencer, videos, clips, clip_length)
    statistics, errors, numbers = [], [], []
    for number, clip in enumerate(source):
        for found in _pairs(inferencer.model, clip, number, max_interval):
            statistics.append(found[0])
            errors.append(found[1])
            numbers.append(number)
        tell(f'fit: clip {number + 1} of {len(source.videos)}, {len(errors)} pairs')
    if not errors:
        raise ValueError(f'none of {len(source.videos)} videos gave a pair of frames')
    statistics, logs = torch.cat(statistics), torch.cat(errors).log()
    checked = torch.tensor(numbers) % _CHECKED == _CHECKED - 1
    predictor = ridge(statistics[~checked], logs[~checked])
    explained = explained_variance(predictor, statistics[checked], logs[checked])
    predictor = replace(predictor, max_interval=max_interval)
    predictor = calibrate(predictor, inferencer.model, source, statistics, tell)
    spread = tuple(np.percentile(logs.exp().numpy(), (10, 50, 90)).tolist())
    return Fit(predictor, int((~checked).sum()), explained, spread)


def _pairs(
    model: VideoDetector, clip: Clip, seed: int, max_interval: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Statistics (1, 4) and true errors (1,) of pairs at growing distances from a random key frame."""
    generator = np.random.default_rng(seed)
    start = int(generator.integers(0, max(1, len(clip) - max_interval)))
    key_input = clip[start]
    key = KeyFrame(model.temporal.prepare(key_input), model.spatial.features(key_input))
    distance = 1
    while distance < max_interval and start + distance < len(clip):
        current = clip[start + distance]
        if current.shape == key_input.shape:
            forecast = model.forecast(current, key)
            propagated = model.temporal.propagate(key.features, forecast.flow, forecast.scale)
            yield (
                forecast_statistics(forecast).cpu(),
                relative_error(propagated, model.spatial.features(current)).cpu(),
            )
        distance += max(1, distance // 2)


def relative_error(features: Sequence[Tensor], truth: Sequence[Tensor]) -> Tensor:
    """‖f - f'‖ / ‖f‖ over all levels (N, C, H_l, W_l); (N,), at least 1e-6."""
    wrong, whole = (
        sum(level.float().pow(2).flatten(1).sum(dim=1) for level in levels)
        for levels in ([a - b for a, b in zip(features, truth, strict=True)], truth)
    )
    return (wrong / whole.clamp(min=1e-12)).sqrt().clamp(min=1e-6)


def ridge(statistics: Tensor, logs: Tensor) -> ErrorPredictor:
    """Ridge regression of logarithms of errors (P,) on statistics (P, 4), in closed form."""
    x, y = statistics.double(), logs.double()
    mean, deviation = x.mean(dim=0), x.std(dim=0, unbiased=False).clamp(min=1e-6)
    x = (x - mean) / deviation
    gram = x.T @ x + _STRENGTH * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    weights = torch.linalg.solve(gram, x.T @ (y - y.mean())) / deviation
    return ErrorPredictor(weights.tolist(), float(y.mean() - weights @ mean))


def explained_variance(predictor: ErrorPredictor, statistics: Tensor, logs: Tensor) -> float | None:
    """R² of predicted logarithms of errors (P,); None for fewer than two."""
    if len(logs) < 2:
        return None
    rest = (predictor.of_statistics(statistics).log() - logs).pow(2).sum()
    return float(1 - rest / (logs - logs.mean()).pow(2).sum().clamp(min=1e-12))
