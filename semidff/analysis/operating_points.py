"""Accuracy and measured time of operating points: methods, key-frame intervals and input sizes of one video detector.

The alternatives to propagation are among them: the dense detector at smaller input sizes, *coast* and *interpolate*.

Protocol: accuracy is that of :class:`~semidff.inference.VideoEngine` on all clips; detections that several operating
points have in common are computed once. Times are from decoding to boxes, batch 1, and are measured after that, see
:mod:`semidff.analysis.point_times`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import init_default_scope
from torch import nn

from semidff.evaluation import Detections, VIDEvaluator
from semidff.evaluation.metrics import MIN_SCORE, agreement
from semidff.inference import ErrorPredictor
from semidff.inference.methods import method_class
from semidff.models.video_detector import VideoDetector

from .evaluation_clips import EvaluationClip, labeled_clips, unlabeled_clips
from .operating_report import MeasuredPoint, OperatingReport
from .point_detections import ADAPTIVE, OperatingPoint, PointDetections, PointRun
from .point_times import PointTimes

METHODS = ('frame', 'coast', 'interpolate', 'propagate', 'centered', 'blend', ADAPTIVE)
UNTRAINED = ('frame', 'coast', 'interpolate')
"""Methods that need no temporal module."""

KEY_INTERVALS = (2, 5, 10, 20)
SCALES = (1.0, 0.75, 0.5)


def measured_methods(has_temporal: bool, has_predictor: bool) -> list[str]:
    """Return the methods that are measured by default."""
    methods = METHODS if has_temporal else UNTRAINED
    return [name for name in methods if has_predictor or name != ADAPTIVE]


def grid_of_points(
    methods: Sequence[str] = METHODS,
    key_intervals: Sequence[int] = KEY_INTERVALS,
    scales: Sequence[float] = SCALES,
    smooth: Sequence[int] = (0,),
) -> list[OperatingPoint]:
    """Return all combinations; the dense detector at each input size is always among them."""
    others = [method for method in methods if method != 'frame']
    points = [OperatingPoint('frame', 1, scale, frames) for scale in scales for frames in smooth]
    return points + [
        OperatingPoint(method, interval, scale, frames)
        for scale in scales
        for method in others
        for interval in key_intervals
        for frames in smooth
    ]


@torch.no_grad()
def measure_operating_points(
    model: VideoDetector,
    videos: Sequence[str | Path | EvaluationClip] = (),
    points: Sequence[OperatingPoint] | None = None,
    *,
    detector: VideoDetector | None = None,
    labels: str | Path | None = None,
    images: str | Path | None = None,
    adaptive: str | Path | ErrorPredictor | None = None,
    places: int = 1,
    rounds: int = 5,
    max_loss: float | None = None,
    fps: float | None = None,
    min_score: float = MIN_SCORE,
    max_frames: int = 300,
    folder: str | Path | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> OperatingReport:
    """Measure accuracy and time of operating points by the protocol of this module.

    Without labels, accuracy is the agreement with the dense detector at the config's input size, see
    :func:`~semidff.evaluation.metrics.agreement`. With labels, it is mAP, and the agreement is measured, too.

    Args:
        model: From :func:`~semidff.inference.loading.load_model`: on its device, with ``cfg`` and
            ``dataset_meta``.
        videos: Video files, folders of frames or clips; with labels, only for the times.
        points: The operating points; None: :func:`grid_of_points`, with the methods that the model supports. The
            dense detector at the config's input size is added. Intervals longer than all clips are left out.
        detector: Video detector with the weights from before stage two, which changes the task network. It is what
            methods without temporal module run, the dense detector first of all; None: ``model``.
        labels: COCO-VID json of labeled videos.
        images: Folder of its images; None: that of the json, or one beside it with its name.
        adaptive: Error predictor or its file, for method *adaptive*. Intervals that it is not calibrated for are left
            out.
        places: Number of positions of the key frames over which accuracy is averaged; not for *adaptive*.
        rounds: Rounds of the measurement of time.
        max_loss: Largest loss of the recommended point in the first metric, 0..1; None: 0.03 with labels, 0.1 without.
        fps: Frames per second that the recommended point has to reach, in place of ``max_loss``.
        min_score: Lowest score of a reference box of the agreement.
        max_frames: Number of first frames of each video that are used, without labels.
        folder: Where detections are kept, so that an interrupted run continues; None keeps none.
        progress: Called with a line of text for each step.

    Raises:
        ValueError: If there are no videos, a point cannot be measured, or a number is too small.
        VideoError: If a video cannot be read.
    """
    init_default_scope('mmdet')
    model = _wrapped(model)
    detector = model if detector is None else _wrapped(detector).with_temporal(None)
    if adaptive is not None and not isinstance(adaptive, ErrorPredictor):
        adaptive = ErrorPredictor.load(adaptive)
    chosen = _supported(points, model, adaptive)
    classes, evaluator = model.dataset_meta['classes'], None
    timed = clips = unlabeled_clips(videos, max_frames)
    if labels is not None:
        clips, evaluator = labeled_clips(labels, images, classes or None)
    if max_loss is None:
        max_loss = 0.1 if evaluator is None else 0.03
    if not clips or min(places, rounds) < 1 or not (max_loss >= 0 and 0 <= min_score <= 1):
        raise ValueError(
            'needs videos or labels, places >= 1, rounds >= 1, max_loss >= 0 and min_score from 0 to 1, got '
            f'{len(clips)} clips, {places=}, {rounds=}, {max_loss=}, {min_score=}'
        )
    models = {point: model if needs_temporal(point) else detector for point in chosen}
    found: dict[OperatingPoint, PointRun] = {}
    for one in dict.fromkeys(models.values()):
        runs = PointDetections(one, clips, adaptive, places, folder)
        own = [point for point in chosen if models[point] is one]
        runs.detect(own, progress)
        found |= {point: runs.of(point) for point in own if point.key_interval <= runs.longest}
    reference = OperatingPoint('frame')
    compared = found[reference].detections[0], runs.num_frames, min_score
    metrics = {point: _mean_accuracy(run, evaluator, *compared) for point, run in found.items()}
    timed = (timed or clips)[0]
    times = PointTimes({point: models[point] for point in found}, timed, adaptive)
    times.measure(rounds, progress)
    measured = []
    for point, run in found.items():
        seconds = times.seconds(point, run.interval)
        speed_up = float(np.median(times.seconds(reference, 1) / seconds))
        milliseconds = 1000 * float(np.median(seconds))
        measured.append(MeasuredPoint(point, run.interval, metrics[point], milliseconds, speed_up))
    settings = dict(
        labels=None if labels is None else str(labels), min_score=min_score, places=places,
        rounds=rounds, frames=runs.num_frames, clips=len(clips), sizes=times.sizes,
        timed=timed.path or timed.files[0],
    )  # fmt: skip
    return OperatingReport(measured, max_loss, settings, fps)


def needs_temporal(point: OperatingPoint) -> bool:
    """Return whether a point's method runs the temporal module."""
    return method_class(point.run_as).uses_temporal


def _wrapped(model: nn.Module) -> VideoDetector:
    """Return a video detector, around an image detector if it is one."""
    if hasattr(model, 'has_temporal'):
        return model
    wrapped = VideoDetector.wrap(model)
    wrapped.cfg, wrapped.dataset_meta = model.cfg, model.dataset_meta
    return wrapped


def _mean_accuracy(run: PointRun, evaluator: VIDEvaluator | None, *compared) -> dict[str, float]:
    several = [_accuracy(one, evaluator, *compared) for one in run.detections]
    return {name: float(np.mean([one[name] for one in several])) for name in several[0]}


def _accuracy(
    detections: Detections,
    evaluator: VIDEvaluator | None,
    reference: Detections,
    num_frames: int,
    min_score: float,
) -> dict[str, float]:
    """Return the metrics: those of the labels, if there are any, and the agreement with the reference."""
    if evaluator is None:
        found = agreement(reference, detections, num_frames, min_score)
        return {name: found[name] for name in ('AP_50', 'AP', 'AP_75')}
    metrics = dict(mAP=evaluator.evaluate(detections).mean(), **evaluator.coco_ap(detections))
    if (reference.scores >= min_score).any():
        found = agreement(reference, detections, num_frames, min_score)
        metrics |= dict(agreement_50=found['AP_50'], agreement=found['AP'])
    return metrics


def _supported(
    points: Sequence[OperatingPoint] | None, model: VideoDetector, predictor: ErrorPredictor | None
) -> list[OperatingPoint]:
    """Return the points to measure, the dense detector at the config's input size first.

    Raises:
        ValueError: If a point cannot be measured.
    """
    if model.spatial.prediction != 'pred_instances':
        raise ValueError(
            f'this model predicts {model.spatial.prediction}; only detectors are measured'
        )
    if points is None:
        points = grid_of_points(measured_methods(model.has_temporal, predictor is not None))
    chosen = [OperatingPoint('frame')]
    for point in points:
        name, interval, scale, smooth = point = OperatingPoint(*point)
        if name not in (*METHODS, 'copy'):
            method_class(name)
            raise ValueError(f'{name!r} is not measured; choose from {", ".join(METHODS)}, copy')
        if name == ADAPTIVE and not (predictor and predictor.intervals):
            raise ValueError(
                'adaptive needs a calibrated error predictor, made by tools/analysis/fit_adaptive.py: give its file'
            )
        if needs_temporal(point) and not model.has_temporal:
            raise ValueError(f'{name} needs a temporal module, which this model does not have')
        if interval < 1 or not scale > 0 or smooth < 0:
            raise ValueError(
                f'{name}: needs key_interval >= 1 and scale > 0, got {interval}, {scale}'
            )
        if name != ADAPTIVE or predictor.intervals[0] <= interval <= predictor.intervals[-1]:
            chosen.append(point._replace(key_interval=1) if name == 'frame' else point)
    return list(dict.fromkeys(chosen))
