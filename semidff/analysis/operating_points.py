"""Accuracy and measured time of operating points: methods, key-frame intervals and input sizes of one video detector.

The alternatives to propagation are among them: the dense detector at smaller input sizes, *coast* and *interpolate*.

Protocol: accuracy is that of :class:`~semidff.inference.VideoEngine` on all clips; detections that several operating
points have in common are computed once. Then times are measured from decoding to boxes
(:mod:`semidff.analysis.speed`): every method runs clips of :data:`TIMED_FRAMES` frames at every input size. The time of
an operating point is (t_key + (l - 1) t_non_key) / l at its key-frame interval l, and that of the smoothing, which is
measured alone.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, groupby, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.structures import DetDataSample, SampleList
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope

from semidff.evaluation import Detections, VIDEvaluator
from semidff.evaluation.metrics import MIN_SCORE, agreement
from semidff.inference import AdaptiveSchedule, ErrorPredictor, FixedSchedule, VideoEngine
from semidff.inference.executors import Executor, RememberedDetections, as_executor
from semidff.inference.executors.remembered import same_boxes
from semidff.inference.loading import frame_pipeline
from semidff.inference.methods import method_class
from semidff.inference.schedules import KeyFrameSchedule
from semidff.models.video_detector import VideoDetector
from semidff.utils.logs import log_warning
from semidff.utils.threads import default_workers, torch_threads
from semidff.utils.worker_pool import pool_map

from .evaluation_clips import EvaluationClip, labeled_clips, unlabeled_clips
from .operating_report import operating_report
from .speed import ClipTimer, clips_of, pack_with, take_turns

ADAPTIVE = 'adaptive'
"""Method *propagate* with an adaptive schedule."""

METHODS = ('frame', 'coast', 'interpolate', 'propagate', 'centered', 'blend', ADAPTIVE)
UNTRAINED = ('frame', 'coast', 'interpolate')
"""Methods that need no temporal module."""

TIMED_FRAMES = 10


class OperatingPoint(NamedTuple):
    """How a video detector is run.

    Attributes:
        method: A method of :class:`~semidff.inference.VideoEngine`, or *adaptive*.
        key_interval: Key-frame interval l; with *adaptive*, the requested average; with *frame*, 1.
        scale: Input size relative to that of the config, for height and width.
        smooth: ``smooth_scores`` of the engine.
        smooth_boxes: ``smooth_boxes`` of the engine.
    """

    method: str
    key_interval: int = 1
    scale: float = 1.0
    smooth: int = 0
    smooth_boxes: int = 0

    @property
    def run_as(self) -> str:
        """The engine's method."""
        return 'propagate' if self.method == ADAPTIVE else self.method

    @property
    def needs_temporal(self) -> bool:
        return method_class(self.run_as).uses_temporal


def measured_methods(has_temporal: bool, has_predictor: bool) -> list[str]:
    """Return the methods that are measured by default."""
    methods = METHODS if has_temporal else UNTRAINED
    return [name for name in methods if has_predictor or name != ADAPTIVE]


def grid_of_points(
    methods: Sequence[str],
    key_intervals: Sequence[int],
    scales: Sequence[float],
    smooth: Sequence[int] = (0,),
    smooth_boxes: Sequence[int] = (0,),
) -> list[OperatingPoint]:
    """Return all combinations; the dense detector at each input size is always among them."""
    others = [method for method in methods if method != 'frame']
    combined = [
        *product(['frame'], [1], scales, smooth, smooth_boxes),
        *product(others, key_intervals, scales, smooth, smooth_boxes),
    ]
    return [OperatingPoint(*one) for one in combined]


@torch.no_grad()
def measure_operating_points(
    model: VideoDetector | Executor,
    videos: Sequence[str | Path | EvaluationClip],
    points: Sequence[OperatingPoint],
    *,
    detector: VideoDetector | Executor | None = None,
    labels: str | Path | None = None,
    images: str | Path | None = None,
    adaptive: str | Path | None = None,
    phases: int = 1,
    rounds: int = 5,
    max_loss: float | None = None,
    fps: float | None = None,
    min_score: float = MIN_SCORE,
    max_frames: int = 300,
    progress: Callable[[str], None] = lambda text: None,
    places: int | None = None,
) -> dict[str, Any]:
    """Measure accuracy and time of operating points by the protocol of this module.

    Without labels, accuracy is the agreement with the dense detector at the config's input size, see
    :func:`~semidff.evaluation.metrics.agreement`. With labels, it is mAP, and the agreement is measured, too.

    Args:
        model: From :func:`~semidff.inference.loading.load_model`.
        videos: Video files, folders of frames or clips; with labels, only for the times.
        points: The operating points. The dense detector at the config's input size is added. Intervals longer than
            all clips, and those that the error predictor of *adaptive* is not calibrated for, are left out.
        detector: Video detector with the weights from before stage two, which changes the task network. It is what
            methods without temporal module run, the dense detector first of all; None: ``model``.
        labels: COCO-VID json of labeled videos.
        images: Folder of its images; None: that of the json, or one beside it with its name.
        phases: Number of phases of the key frames over which accuracy is averaged; not for *adaptive*.
        max_loss: Largest loss of the recommended point in the first metric, 0..1; None: 0.03 with labels, 0.1 without.
        fps: Frames per second that the recommended point has to reach, in place of ``max_loss``.
        min_score: Lowest score of a reference box of the agreement.
        max_frames: Number of first frames of each video that are used, without labels.
        places: Former name of ``phases``.

    Returns:
        The report, see :func:`~semidff.analysis.operating_report.operating_report`.
    """
    if places is not None:
        log_warning('places is called phases now')
        phases = places
    init_default_scope('mmdet')
    executor = as_executor(model)
    detector = executor if detector is None else as_executor(detector).with_temporal(None)
    model = executor.model
    predictor = None if adaptive is None else ErrorPredictor.load(adaptive)
    chosen = _supported(points, model, predictor)
    evaluator, timed = None, unlabeled_clips(videos, max_frames)
    clips = timed
    if labels is not None:
        clips, evaluator = labeled_clips(labels, images, model.dataset_meta['classes'] or None)
    if max_loss is None:
        max_loss = 0.1 if evaluator is None else 0.03
    if not clips or max_loss < 0:
        raise ValueError('needs videos or labels, and a largest loss of at least 0')
    executors = {point: executor if point.needs_temporal else detector for point in chosen}
    found: dict[OperatingPoint, list[_Run]] = {}
    for one in dict.fromkeys(executors.values()):
        runs = {
            point: _runs(point, predictor, phases) for point in chosen if executors[point] is one
        }
        lengths = _detect(one, clips, runs, progress)
        found |= {point: runs[point] for point in runs if point.key_interval <= max(lengths)}
    reference = OperatingPoint('frame')
    compared = evaluator, found[reference][0].detections(), sum(lengths), min_score
    timed = (timed or clips)[0]
    laps, sizes = _measure_times(
        {point: executors[point] for point in found}, timed, predictor, rounds, progress
    )
    dense = _seconds(laps, reference, 1)
    measured = []
    for point, several in found.items():
        metrics = [_accuracy(run.detections(), *compared) for run in several]
        interval = sum(run.frames for run in several) / sum(run.keys for run in several)
        smoothing = sum(run.smoothing for run in several) / (len(several) * sum(lengths))
        seconds = _seconds(laps, point, interval, smoothing)
        measured.append(
            dict(
                point._asdict(),
                interval=float(interval),
                milliseconds=1000 * float(np.median(seconds)),
                speed_up=float(np.median(dense / seconds)),
                metrics={name: float(np.mean([m[name] for m in metrics])) for name in metrics[0]},
                causal=not (method_class(point.run_as).needs_next or point.smooth_boxes),
            )
        )
    settings = dict(
        labels=None if labels is None else str(labels), min_score=min_score, places=phases,
        rounds=rounds, frames=sum(lengths), clips=len(clips), sizes=sizes,
        timed=timed.path or timed.files[0],
    )  # fmt: skip
    return operating_report(measured, max_loss, settings, fps)


def _supported(
    points: Sequence[OperatingPoint], model: VideoDetector, predictor: ErrorPredictor | None
) -> list[OperatingPoint]:
    """Return the points to measure, the dense detector at the config's input size first."""
    if model.spatial.prediction != 'pred_instances':
        raise ValueError(
            f'this model predicts {model.spatial.prediction}; only detectors are measured'
        )
    chosen = [OperatingPoint('frame')]
    for point in points:
        name, interval, scale = point[:3]
        if name not in (*METHODS, 'copy'):
            method_class(name)
            raise ValueError(f'{name!r} is not measured; choose from {", ".join(METHODS)}, copy')
        if name == ADAPTIVE and not (predictor and predictor.intervals):
            raise ValueError(
                'adaptive needs a calibrated error predictor, made by tools/analysis/fit_adaptive.py: give its file'
            )
        if point.needs_temporal and not model.has_temporal:
            raise ValueError(f'{name} needs a temporal module, which this model does not have')
        if interval < 1 or not scale > 0:
            raise ValueError(
                f'{name}: needs key_interval >= 1 and scale > 0, got {interval}, {scale}'
            )
        if name != ADAPTIVE or predictor.intervals[0] <= interval <= predictor.intervals[-1]:
            chosen.append(point._replace(key_interval=1) if name == 'frame' else point)
    return list(dict.fromkeys(chosen))


def _accuracy(
    found: Detections,
    evaluator: VIDEvaluator | None,
    reference: Detections,
    num_frames: int,
    min_score: float,
) -> dict[str, float]:
    if evaluator is None:
        against = agreement(reference, found, num_frames, min_score)
        return {name: against[name] for name in ('AP_50', 'AP', 'AP_75')}
    metrics = dict(mAP=evaluator.evaluate(found).mean(), **evaluator.coco_ap(found))
    if (reference.scores >= min_score).any():
        against = agreement(reference, found, num_frames, min_score)
        metrics |= dict(agreement_50=against['AP_50'], agreement=against['AP'])
    return metrics


@dataclass
class _Run:
    """A run of an operating point over all clips.

    Attributes:
        found: Of each clip, the number of detections of each frame, and their labels, scores and boxes.
        frames: Number of frames; ``keys`` of them are key frames.
        smoothing: Seconds that the smoothing of all frames took.
    """

    point: OperatingPoint
    schedule: KeyFrameSchedule
    found: list[tuple[np.ndarray, ...]] = field(default_factory=list)
    frames: int = 0
    keys: int = 0
    smoothing: float = 0.0

    def detections(self) -> Detections:
        counts, *columns = map(np.concatenate, zip(*self.found, strict=True))
        return Detections(np.repeat(np.arange(len(counts)), counts), *columns)


def _runs(point: OperatingPoint, predictor: ErrorPredictor | None, phases: int) -> list[_Run]:
    """Return a run for each phase of the key frames: the first interval is l, l - l / phases, ..."""
    interval = point.key_interval
    if point.method == ADAPTIVE:
        return [_Run(point, AdaptiveSchedule(predictor, interval=interval))]
    firsts = sorted({interval - interval * number // phases for number in range(phases)})
    return [_Run(point, FixedSchedule(interval, first)) for first in firsts]


def _detect(
    executor: Executor,
    clips: Sequence[EvaluationClip],
    runs: Mapping[OperatingPoint, Sequence[_Run]],
    progress: Callable[[str], None],
) -> list[int]:
    """Detect with all runs in all clips, each of which begins with a key frame; return the clips' numbers of frames.

    On a CPU, clips are processed at once, each with one thread.
    """
    on_cpu = next(executor.model.parameters()).device.type == 'cpu'
    workers = min(default_workers(), len(clips)) if on_cpu else 1

    def detect(clip: EvaluationClip) -> list[list[_Run]]:
        with torch_threads(1) if workers > 1 else nullcontext():
            return _detect_clip(executor, clip, runs)

    lengths, methods = [], ', '.join(dict.fromkeys(point.method for point in runs))
    for number, pieces in enumerate(pool_map(detect, clips, workers), start=1):
        for run, piece in zip(chain(*runs.values()), chain(*pieces), strict=True):
            run.found += piece.found
            run.keys, run.frames = run.keys + piece.keys, run.frames + piece.frames
            run.smoothing += piece.smoothing
        lengths.append(len(piece.found[0][0]))
        progress(f'accuracy of {methods}: clip {number} of {len(clips)}')
    return lengths


def _detect_clip(
    executor: Executor, clip: EvaluationClip, runs: Mapping[OperatingPoint, Sequence[_Run]]
) -> list[list[_Run]]:
    """Return what all runs find in a clip. Points that differ in their smoothing alone share the detections."""
    pieces = {
        point: [_Run(point, run.schedule) for run in several] for point, several in runs.items()
    }
    for scale in dict.fromkeys(point.scale for point in runs):
        pipeline = frame_pipeline(executor.model.cfg, scale=scale)
        remembered = RememberedDetections(executor)
        items = [pipeline(dict(img=image)) for image in clip.images()]
        alike = defaultdict(list)
        for point in runs:
            if point.scale == scale:
                alike[point._replace(smooth=0, smooth_boxes=0)].append(pieces[point])
        for same in chain(*(zip(*several, strict=True) for several in alike.values())):
            results = list(_results(remembered, same[0], items))
            keys = [result.is_key_frame for result in results]
            # The last frame of an excerpt is not counted if it begins an interval.
            keys = keys[:-1] if clip.stop and keys[-1] and len(keys) > 1 else keys
            for run in same:
                run.keys, run.frames = sum(keys), len(keys)
                run.found.append(_arrays(_smoothed(run, results)))
    return list(pieces.values())


def _arrays(results: SampleList) -> tuple[np.ndarray, ...]:
    found = [result.pred_instances for result in results]
    labels, scores, boxes = (
        torch.cat([one[key] for one in found]) for key in ('labels', 'scores', 'bboxes')
    )
    counts = np.array([len(one) for one in found])
    return counts, labels.numpy(), scores.float().numpy(), boxes.float().numpy()


def _results(
    executor: RememberedDetections, run: _Run, items: Sequence[dict]
) -> Iterator[DetDataSample]:
    """Yield the results of a run in the packed frames of a clip, without smoothing."""

    def batches() -> Iterator[dict]:
        for index, item in enumerate(items):
            sample = item['data_samples'].new()
            sample.set_metainfo(dict(frame_id=index))
            yield pseudo_collate([dict(item, data_samples=sample)])

    yield from VideoEngine(executor, run.point.run_as, schedule=run.schedule).run(batches())


def _smoothed(run: _Run, results: SampleList) -> SampleList:
    """Smooth the results of a clip as the engine does, and add the time that it takes to the run."""
    point = run.point
    if not (point.smooth or point.smooth_boxes):
        return results
    copies = [result.new() for result in results]
    for result in copies:
        result.pred_instances = same_boxes(result.pred_instances)
    found, start = [], time.perf_counter()
    for _, alike in groupby(copies, lambda result: result.ori_shape):
        offline = method_class(point.run_as).needs_next
        smoother = Smoother(point.smooth, point.smooth_boxes, offline)
        found += smoother.push(list(alike)) + smoother.flush()
    run.smoothing += time.perf_counter() - start
    return found


def _measure_times(
    executors: Mapping[OperatingPoint, Executor],
    clip: EvaluationClip,
    predictor: ErrorPredictor | None,
    rounds: int,
    progress: Callable[[str], None],
) -> tuple[dict[tuple, list], dict[float, tuple[int, int]]]:
    """Measure seconds of key frames, of non-key frames and of reading with every method at every input size.

    Args:
        executors: The executor of each operating point.
        clip: Clip whose video, from its first frame on, is used, since seeking must not be timed.

    Returns:
        Triples of seconds, one for each round, by method and scale, the last one of reading; height and width of the
        network's input by scale.
    """
    clip, sizes, tasks = clip._replace(start=0, stop=None), {}, {}
    first = next(clip.images())

    def run(timer: ClipTimer, clips: Iterator[Iterator[np.ndarray]]) -> tuple[float, ...]:
        times = timer.run(next(clips))
        return times.work[0], times.work[1:].mean(), times.reading

    for (method, _, scale, *_), executor in executors.items():
        if (method, scale) in tasks:
            continue
        pipeline = frame_pipeline(executor.model.cfg, scale=scale)
        sizes[scale] = tuple(pipeline(dict(img=first))['inputs'].shape[-2:])
        schedule = None
        if method == ADAPTIVE:
            schedule = AdaptiveSchedule(predictor, tolerance=float('inf'))
        run_as = OperatingPoint(method).run_as
        timer = ClipTimer(executor, run_as, TIMED_FRAMES, pack_with(pipeline), schedule)
        tasks[method, scale] = partial(run, timer, clips_of(clip, TIMED_FRAMES + 1))
    return take_turns(tasks, rounds, lambda text: progress(f'times, {text}')), sizes


def _seconds(
    laps: Mapping[tuple, list], point: OperatingPoint, interval: float, smoothing: float = 0.0
) -> np.ndarray:
    """Return the mean seconds of a frame, (rounds,), at an average key-frame interval.

    ``smoothing`` is what it takes of them.
    """
    key, non_key, reading = np.array(laps[point.method, point.scale]).T
    if point.method == 'frame':
        interval = TIMED_FRAMES
    return np.maximum((key + (interval - 1) * non_key) / interval + smoothing, reading)
