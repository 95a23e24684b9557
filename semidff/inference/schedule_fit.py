"""Fit and calibration of the adaptive key-frame schedule on unlabeled videos.

The error predictor is fitted to pairs of a key frame and a later frame, whose true features the
feature network computes. The calibration then runs the schedule through the videos at many
tolerances, which needs the flow network only, and records the average key-frame intervals.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn

from semidff.datasets.video_list import VideoInfo, VideoListError, load_frames, load_videos
from semidff.datasets.video_readers import VideoError, open_video
from semidff.models.key_frame import FlowField, KeyFrame
from semidff.models.video_detector import VideoDetector
from semidff.utils.progress import track

from .methods.base import MethodError
from .schedules import ErrorPredictor, flow_statistics

_HELD_OUT = 5  # every fifth clip
_STRENGTH = 1e-3  # of the ridge penalty, for statistics of unit variance
_TOLERANCES = 25
_REACH = 0.4  # of a clip's length: longer intervals are truncated by the end of the clip


class FitError(ValueError):
    """No pair of frames could be read."""


@dataclass(frozen=True)
class Fit:
    """Result of :func:`fit_adaptive`.

    Attributes:
        predictor: The calibrated error predictor.
        pairs: Number of pairs that it was fitted to.
        explained: R² of the error's logarithm on held-out clips; None with fewer than five clips.
        errors: 10th, 50th and 90th percentile of the true relative errors.
    """

    predictor: ErrorPredictor
    pairs: int
    explained: float | None
    errors: tuple[float, float, float]


@torch.no_grad()
def fit_adaptive(
    model: VideoDetector,
    pack: Callable[[np.ndarray], dict],
    videos: Sequence[VideoInfo],
    clips: int = 60,
    clip_length: int = 60,
    max_interval: int = 30,
) -> Fit:
    """Fit the error predictor and calibrate it.

    Args:
        model: Video detector with a temporal module, in eval mode.
        pack: Maps a frame (H, W, 3), uint8, BGR, to a collated test batch.
        clips: Number of clips, from videos spread evenly over the list. Of fewer videos, several
            clips of each that do not overlap.
    """
    if not model.has_temporal:
        raise MethodError('an adaptive schedule needs a temporal module and this model has none')
    places = choose_clips(videos, clips, clip_length)

    def preprocess(frame: np.ndarray) -> Tensor:
        return model.data_preprocessor(pack(frame), False)['inputs']

    def read(description: str) -> Iterator[list[np.ndarray]]:
        for video, start in track(places, description, len(places), 'clips'):
            if clip := read_clip(video, start, clip_length):
                yield clip

    statistics, errors, numbers = [], [], []
    with model.running():
        for number, clip in enumerate(read('fit')):
            for found, error in _pairs(model, preprocess, clip, number, max_interval):
                statistics.append(found)
                errors.append(error)
                numbers.append(number)
    if not errors:
        raise FitError(f'no pair of frames could be read from {len(videos)} videos')
    statistics, logs = torch.cat(statistics), torch.cat(errors).log()
    held_out = torch.tensor(numbers) % _HELD_OUT == _HELD_OUT - 1
    predictor = ridge(statistics[~held_out], logs[~held_out])
    predictor = replace(predictor, max_interval=max_interval)
    explained = None
    if held_out.sum() > 1:
        truth = logs[held_out]
        rest = predictor.of_statistics(statistics[held_out]).log() - truth
        variation = (truth - truth.mean()).pow(2).sum().clamp(min=1e-12)
        explained = float(1 - rest.pow(2).sum() / variation)
    flow_inputs = (
        [model.temporal.prepare(preprocess(frame)) for frame in clip]
        for clip in read('calibration')
    )
    with model.running():
        predictor = calibrate(predictor, model.temporal, flow_inputs, statistics)
    spread = tuple(np.percentile(logs.exp().numpy(), (10, 50, 90)).tolist())
    return Fit(predictor, int((~held_out).sum()), explained, spread)


def _pairs(
    model: VideoDetector,
    preprocess: Callable[[np.ndarray], Tensor],
    clip: Sequence[np.ndarray],
    seed: int,
    max_interval: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield statistics (1, 4) and true errors (1,) of pairs at growing distances from a random key
    frame.
    """
    generator = np.random.default_rng(seed)
    start = int(generator.integers(0, max(1, len(clip) - max_interval)))
    key_input = preprocess(clip[start])
    key = KeyFrame(model.temporal.prepare(key_input), model.spatial.features(key_input))
    distance = 1
    while distance < max_interval and start + distance < len(clip):
        current = preprocess(clip[start + distance])
        if current.shape == key_input.shape:
            flow_field = model.flow_field(current, key)
            propagated = model.temporal.propagate(key.features, *flow_field.fields)
            truth, compare = model.spatial.features(current), model.spatial.split.comparable
            error = relative_error(compare(propagated, truth), compare(truth, truth))
            yield flow_statistics(flow_field).cpu(), error.cpu()
        distance += max(1, distance // 2)


def relative_error(features: Sequence[Tensor], truth: Sequence[Tensor]) -> Tensor:
    """Return ``‖f - f'‖ / ‖f‖`` (N,) over all levels (N, C, H_l, W_l), at least 1e-6."""
    wrong, whole = (
        sum(level.float().pow(2).flatten(1).sum(dim=1) for level in levels)
        for levels in ([a - b for a, b in zip(features, truth, strict=True)], truth)
    )
    return (wrong / whole.clamp(min=1e-12)).sqrt().clamp(min=1e-6)


def ridge(statistics: Tensor, logs: Tensor) -> ErrorPredictor:
    """Regress logarithms of errors (P,) on statistics (P, 4) with a ridge penalty."""
    x, y = statistics.double(), logs.double()
    mean, deviation = x.mean(dim=0), x.std(dim=0, unbiased=False).clamp(min=1e-6)
    x = (x - mean) / deviation
    gram = x.T @ x + _STRENGTH * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    weights = torch.linalg.solve(gram, x.T @ (y - y.mean())) / deviation
    return ErrorPredictor(weights.tolist(), float(y.mean() - weights @ mean))


def calibrate(
    predictor: ErrorPredictor,
    temporal: nn.Module,
    clips: Iterable[Sequence[Tensor]],
    statistics: Tensor,
) -> ErrorPredictor:
    """Return a predictor with the average intervals at a range of tolerances.

    Clips are inputs of the temporal module's flow network, through which the schedules run. The
    tolerances are quantiles of the predicted errors of pairs, given their statistics (P, 4).
    """
    levels = torch.linspace(0, 1, _TOLERANCES - 1, dtype=torch.float64)
    errors = predictor.of_statistics(statistics.double())
    tolerances = torch.cat([errors.quantile(levels), 2 * errors.max()[None]]).numpy()
    keys, lengths = np.zeros(len(tolerances), int), []
    for images in clips:

        @cache
        def error(key: int, current: int, images: Sequence[Tensor] = images) -> float:
            pair = images[key], images[current]
            return float(predictor(FlowField(*pair, *temporal.fields(*pair))))

        for index, tolerance in enumerate(tolerances):  # as AdaptiveSchedule decides
            key, predicted = 0, np.inf  # the first frame is a key frame
            for current in range(len(images)):
                if predicted >= tolerance or current - key >= predictor.max_interval:
                    key, predicted = current, 0.0
                    keys[index] += 1
                else:
                    predicted = error(key, current)
        lengths.append(len(images))
    intervals = np.maximum.accumulate(sum(lengths) / keys)
    known = intervals <= max(_REACH * sum(lengths) / len(lengths), intervals[0])
    return replace(
        predictor,
        tolerances=tuple(tolerances[known].tolist()),
        intervals=tuple(intervals[known].tolist()),
    )


def choose_clips(
    videos: Sequence[VideoInfo], clips: int, length: int
) -> list[tuple[VideoInfo, int]]:
    """Return videos spread evenly over the list, and the first frames of clips spread evenly over
    each of them.

    A video has as many clips as do not overlap, but one at least, which is its middle.
    """
    chosen = np.linspace(0, len(videos) - 1, min(clips, len(videos))).round().astype(int)
    places = []
    for number, video in enumerate(videos[index] for index in chosen):
        wanted = len(range(number, clips, len(chosen)))
        count = max(1, min(wanted, video.length // length))
        middles = (np.arange(count) + 0.5) * video.length / count
        places += [(video, max(0, int(middle - length / 2))) for middle in middles]
    return places


def read_clip(video: VideoInfo, start: int, length: int) -> list[np.ndarray]:
    """Return ``length`` frames (H, W, 3), uint8, BGR, fewer at the end of the video; none if they
    cannot be decoded.
    """
    try:
        with closing(open_video(video.path)) as reader:
            return reader.frames(range(start, min(start + length, video.length)))
    except VideoError:
        return []


def unlabeled_videos(config: Config, video_list: str | None = None) -> list[VideoInfo]:
    """Return the videos of a list, by default of the config's training."""
    if video_list is not None:
        return load_videos(video_list)
    dataset = (config.get('train_dataloader') or {}).get('dataset') or {}
    while 'dataset' in dataset:  # wrappers
        dataset = dataset['dataset']
    if dataset.get('type') != 'UnlabeledVideoDataset':
        raise VideoListError(
            f'{config.filename or "the config"} trains on {dataset.get("type")}, not on unlabeled '
            'videos; give a list of videos (--videos)'
        )
    files = dataset.ann_file, dataset.get('data_prefix')
    if dataset.get('lists') == 'frames':
        return [video for video, _ in load_frames(*files)]
    return load_videos(*files)
