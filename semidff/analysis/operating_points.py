"""Accuracy and measured time of operating points: methods, key-frame intervals and input sizes of one video detector.

The alternatives to propagation are among them: the dense detector at smaller input sizes, *track* and *interpolate*.

Protocol: accuracy is that of :class:`~semidff.inference.VideoEngine` on all clips; detections that several operating
points have in common are computed once. Then times are measured from decoding to boxes
(:mod:`semidff.analysis.speed`): every method runs clips of :data:`TIMED_FRAMES` frames at every input size. The time of
an operating point is (t_key + n t_light) / l at its key-frame interval l with n light frames, and that of the filter,
which is measured alone. On a CPU, a tracked frame takes the time of reading it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import init_default_scope

from semidff.datasets.vid_json import check_frames_between
from semidff.evaluation import VIDEvaluator
from semidff.evaluation.metrics import MIN_SCORE, agreement, class_ap, confident
from semidff.inference import AdaptiveSchedule, ErrorPredictor, VideoEngine
from semidff.inference.executors import Executor, as_executor
from semidff.inference.loading import frame_pipeline
from semidff.inference.methods import method_class
from semidff.models.video_detector import VideoDetector
from semidff.utils.logs import log_warning
from semidff.utils.threads import default_workers
from semidff.utils.worker_pool import pool_map

from .evaluation_clips import EvaluationClip, labeled_clips, unlabeled_clips
from .operating_report import MAX_LOSS, OTHERS, operating_report, point_name
from .reference import COMPARED, Reference, reference_of, stand_in
from .runs import ADAPTIVE, REFERENCE, OperatingPoint, Run, detect_clips, runs_of
from .speed import ClipTimer, clips_of, pack_with, take_turns
from .streaming import stream_clip

METHODS = ('frame', 'track', 'interpolate', 'propagate', 'centered', 'blend', ADAPTIVE)
UNTRAINED = ('frame', 'track', 'interpolate')
"""Methods that need no temporal module."""

TIMED_FRAMES = 10

_LONG_ENOUGH = 60.0  # seconds of all times; those of slow detectors need fewer rounds

_QUANTILES = 0.5, 0.95, 0.99  # of delays


def _point_of(one: Mapping[str, Any]) -> OperatingPoint:
    """Return the point of a row of a report."""
    return OperatingPoint(*(one[name] for name in OperatingPoint._fields))


def measured_methods(has_temporal: bool, has_predictor: bool) -> list[str]:
    """Return the methods that are measured by default."""
    methods = METHODS if has_temporal else UNTRAINED
    return [name for name in methods if has_predictor or name != ADAPTIVE]


def grid_of_points(
    methods: Sequence[str],
    key_intervals: Sequence[int],
    scales: Sequence[float],
    light_every: Sequence[int] = (1,),
    filters: Sequence[str | None] = (None,),
) -> list[OperatingPoint]:
    """Return all combinations that differ; the dense detector at each input size is always among them.

    Points of other methods that have no light frames are left out: they are those of *track*.
    """
    combined = product(['frame', *methods], key_intervals, scales, light_every, filters)
    points = dict.fromkeys(OperatingPoint(*one).completed() for one in combined)
    return [
        one
        for one in points
        if one.method == 'track' or one.light_every in (1, *range(2, one.key_interval))
    ]


@torch.no_grad()
def measure_operating_points(
    model: VideoDetector | Executor,
    videos: Sequence[str | Path | EvaluationClip],
    points: Sequence[OperatingPoint],
    *,
    detector: VideoDetector | Executor | None = None,
    teacher: VideoDetector | Executor | None = None,
    labels: str | Path | None = None,
    images: str | Path | None = None,
    adaptive: str | Path | None = None,
    phases: int = 1,
    rounds: int = 5,
    max_loss: float = MAX_LOSS,
    fps: float | None = None,
    min_score: float = MIN_SCORE,
    max_frames: int = 300,
    runs: 'dict[OperatingPoint, list[Run]] | None' = None,
    live_rate: float | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure accuracy and time of operating points by the protocol of this module.

    Without labels, accuracy is the :func:`~semidff.evaluation.metrics.agreement` with the dense detector at the
    config's input size, see :mod:`semidff.analysis.reference`. With labels, there are mAP and AP, and it, too.

    Args:
        model: From :func:`~semidff.inference.loading.load_model`.
        videos: Video files, folders of frames or clips; with labels, only for the times.
        points: The operating points. The dense detector at the config's input size is added, without filter and
            filtered both ways. Intervals longer than all clips, and those that the error predictor of *adaptive* is not
            calibrated for, are left out.
        detector: Video detector with the weights from before stage two, which changes the task network. It is what
            methods without temporal module run, the dense detector first of all; None: ``model``.
        teacher: What the agreement is measured with; None: ``detector``.
        labels: COCO-VID json of labeled videos.
        images: Folder of its images; None: that of the json, or one beside it with its name.
        phases: Number of phases of the key frames over which accuracy is averaged; not for *adaptive*.
        rounds: Rounds of the times, fewer if they take longer than a minute.
        max_loss: Largest loss of the recommended points in AP and in AP_50, 0..1.
        fps: Frames per second that the recommended point has to reach, in place of ``max_loss``.
        min_score: Lowest score of a reference box of the agreement.
        max_frames: Number of first frames of each video that are used, without labels.
        runs: Those of earlier calls with the same clips, which are not repeated; new ones are added.
        live_rate: Frames per second of a camera for which the streaming accuracy of the best causal points, and of each
            method's best one, is measured, in real time, see :func:`~semidff.analysis.streaming.stream_clip`.

    Returns:
        The report, see :func:`~semidff.analysis.operating_report.operating_report`.
    """
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
    if not clips or max_loss < 0:
        raise ValueError('needs videos or labels, and a largest loss of at least 0')
    if evaluator and (others := dict.fromkeys(p.method for p in chosen if p.method != 'frame')):
        check_frames_between((len(clip.files) for clip in clips), str(labels), ', '.join(others))
    wanted = dict.fromkeys([*chosen, *map(stand_in, chosen), *COMPARED])
    executors = {point: executor if point.needs_temporal else detector for point in wanted}
    runs = {} if runs is None else runs
    for one in dict.fromkeys(executors.values()):
        new = {
            point: runs_of(point, predictor, phases)
            for point in wanted
            if executors[point] is one and point not in runs
        }
        detect_clips(one, clips, new, progress)
        runs |= new
    name_of = lambda one: one._replace(method='teacher ' * (teacher is not None) + one.method)  # noqa: E731
    if name_of(REFERENCE) not in runs:
        new = {point: runs_of(point, None, 1) for point in COMPARED}
        detect_clips(as_executor(teacher).with_temporal(None), clips, new, progress)
        runs |= {name_of(point): several for point, several in new.items()}
    reference = reference_of([runs[name_of(point)][0] for point in COMPARED], min_score)
    lengths = [len(seen) for seen in runs[REFERENCE][0].seen]
    found = {point: runs[point] for point in chosen if point.key_interval <= max(lengths)}
    if left_out := [point_name(point._asdict()) for point in chosen if point not in found]:
        log_warning(f'left out, the longest clip has {max(lengths)} frames: {", ".join(left_out)}')
    compared = evaluator, reference, sum(lengths), min_score
    timed = (timed or clips)[0]
    laps, sizes = _measure_times(
        {point: executors[point] for point in found}, timed, predictor, rounds, progress
    )
    dense = np.median(_seconds(laps, chosen[0], 1, 0, 0))
    measured = []
    accuracy = lambda one: [  # noqa: E731
        _accuracy(*pair, *compared) for pair in zip(runs[one], runs[stand_in(one)], strict=False)
    ]
    metrics_of = pool_map(accuracy, found, default_workers())
    for (point, several), metrics in zip(found.items(), metrics_of, strict=True):
        frames, keys, lights = np.sum([(run.frames, run.keys, run.lights) for run in several], 0)
        filtering = sum(run.filtering for run in several) / (len(several) * sum(lengths))
        shares = keys / frames, lights / frames
        seconds = float(np.median(_seconds(laps, point, *shares, filtering)))
        measured.append(
            dict(
                point._asdict(),
                interval=float(frames / keys),
                milliseconds=1000 * seconds,
                speed_up=float(dense / seconds),
                metrics={name: float(np.mean([m[name] for m in metrics])) for name in metrics[0]},
                causal=not (method_class(point.run_as).needs_next or point.filter == 'both'),
            )
        )
    settings = dict(
        labels=None if labels is None else str(labels), min_score=min_score, places=phases,
        rounds=len(next(iter(laps.values()))), frames=sum(lengths), clips=len(clips), sizes=sizes,
        teacher=teacher is not None, timed=timed.path or timed.files[0],
        runtime=getattr(detector, 'runtime', 'torch'), left_out=reference.ious, is_raw=reference.is_raw,
    )  # fmt: skip
    report = operating_report(measured, max_loss, settings, fps)
    if live_rate:
        report['live'] = _measure_live(
            executors, found, report['points'], clips, live_rate, compared, progress
        )
    return report | dict(classes=_by_class(report, runs, model.dataset_meta['classes'], *compared))


def _measure_live(
    executors: Mapping[OperatingPoint, Executor],
    found: Mapping[OperatingPoint, Sequence['Run']],
    points: Sequence[dict[str, Any]],
    clips: Sequence[EvaluationClip],
    rate: float,
    compared: tuple,
    progress: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Return streaming accuracy and delays of the best causal points, with each latency that they have."""
    rows = []
    causal = sorted((p for p in points if p['causal']), key=lambda p: -p['metrics']['AP'])
    best = {one['method']: one for one in reversed(causal)}.values()  # of each method
    best = [points[0], *(one for one in causal if one['pareto'] or one in best)]
    for point in dict.fromkeys(map(_point_of, best)):
        schedule = found[point][0].schedule
        options = dict(filter=point.filter, light_every=point.light_every)
        engine = VideoEngine(executors[point], point.run_as, schedule=schedule, **options)
        pipeline = frame_pipeline(engine.model.cfg, scale=point.scale)
        for latency in ('synchronous', 'bounded')[: 1 + engine.can_be_bounded]:
            run, delays, ages = Run(point, schedule), [], []
            for clip in clips:
                images = list(clip.images())
                stream_clip(engine, pipeline, images[:5], rate, latency == 'bounded')  # warm
                streamed = stream_clip(engine, pipeline, images, rate, latency == 'bounded')
                run.add(streamed.results)
                delays += streamed.delays
                ages += streamed.key_ages
            count = sum(len(one[0]) for one in run.found)
            row = dict(
                point._asdict(),
                latency=latency,
                metrics=_accuracy(run, run, *compared),
                delays=dict(zip(_QUANTILES, np.quantile(delays, _QUANTILES).tolist(), strict=True)),
                key_age=float(np.mean(ages)),
                dropped=1 - len(delays) / count,
                rate=rate,
            )
            progress(f'live: {point_name(row)}, {latency}: AP {100 * row["metrics"]["AP"]:.1f}')
            rows.append(row)
    return rows


def _by_class(
    report: dict[str, Any],
    runs: Mapping[OperatingPoint, Sequence['Run']],
    names: Sequence[str],
    evaluator: VIDEvaluator | None,
    reference: Reference,
    num_frames: int,
    min_score: float,
) -> list[dict[str, Any]]:
    """Return class, number of boxes, and the accuracy of the dense detector and of the recommended points."""
    classes: dict[int, dict[str, Any]] = {}
    names = names if evaluator is None else evaluator.classes
    shown = report['points'][0], report['recommended'], report['recommended_causal']
    for one in shown:
        point = _point_of(one)
        run = runs[stand_in(point) if reference.is_raw and not evaluator else point][0]
        if evaluator:
            result = evaluator.evaluate(run.detections())
            measure, boxes, accuracy = 'mAP', result.num_boxes, result.ap
        else:
            truth, detections = reference.compared(run, reference.is_raw)
            truth = confident(truth, num_frames, min_score)
            count = 1 + int(max(truth.labels.max(), detections.labels.max(initial=0)))
            boxes, figures = class_ap(truth, detections, num_frames, count)
            measure, accuracy = 'AP', figures['AP']
        for label in np.flatnonzero(boxes):
            name = names[label] if label < len(names) else str(label)
            row = classes.setdefault(label, {'class': name, 'boxes': int(boxes[label])})
            row[f'{measure}, {point_name(one)}'] = float(accuracy[label])
    return sorted(classes.values(), key=lambda row: -row['boxes'])


def _supported(
    points: Sequence[OperatingPoint], model: VideoDetector, predictor: ErrorPredictor | None
) -> list[OperatingPoint]:
    """Return the points to measure, the dense detector at the config's input size first."""
    if model.spatial.prediction != 'pred_instances':
        raise ValueError(
            f'this model predicts {model.spatial.prediction}; only detectors are measured'
        )
    chosen = [OperatingPoint('frame'), REFERENCE]
    for point in points:
        name, interval, scale = point[:3]
        if name not in (names := (*METHODS, 'copy', 'small')):
            method_class(name)
            raise ValueError(f'{name!r} is not measured; choose from {", ".join(names)}')
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
            chosen.append(point.completed())
    return list(dict.fromkeys(chosen))


def _accuracy(
    run: Run,
    judged: Run,
    evaluator: VIDEvaluator | None,
    reference: Reference,
    num_frames: int,
    min_score: float,
) -> dict[str, float]:
    """Return the metrics of a run, of which ``judged`` is compared with raw boxes."""

    def against(is_raw: bool) -> dict[str, float]:
        pair = reference.compared(judged if is_raw else run, is_raw)
        return agreement(*pair, num_frames, min_score)

    found = run.detections()
    boxes = (found.scores >= min_score).sum() / num_frames
    if evaluator is None:
        name, other = OTHERS[reference.is_raw], against(not reference.is_raw)
        others = {name: other['AP'], f'{name}_50': other['AP_50']}
        return against(reference.is_raw) | others | dict(boxes=boxes)
    metrics = dict(mAP=evaluator.evaluate(found).mean(), **evaluator.coco_ap(found))
    if len(reference.raw) and (reference.filtered.scores >= min_score).any():
        own = against(reference.is_raw)
        metrics |= dict(agreement_50=own['AP_50'], agreement=own['AP'])
    return metrics | dict(boxes=boxes)


def _measure_times(
    executors: Mapping[OperatingPoint, Executor],
    clip: EvaluationClip,
    predictor: ErrorPredictor | None,
    rounds: int,
    progress: Callable[[str], None],
) -> tuple[dict[tuple, list], dict[float, tuple[int, int]]]:
    """Measure seconds of frames with every method at every input size.

    Args:
        executors: The executor of each operating point.
        clip: Clip whose video, from its first frame on, is used, since seeking must not be timed.

    Returns:
        Seconds of key, light and tracked frames and of reading, a tuple for each round, by method and scale; height and
        width of the network's input by scale.
    """
    clip, sizes, tasks = clip._replace(start=0, stop=None), {}, {}
    first = next(clip.images())

    def run(timer: ClipTimer, clips: Iterator[Iterator[np.ndarray]]) -> tuple[float, ...]:
        times = timer.run(next(clips))
        tracked = times.work - times.seconds[:, -1] / times.workers  # a CPU reads, too
        return times.work[0], times.work[1:].mean(), tracked.mean(), times.reading

    for point, executor in executors.items():
        method, _, scale, *_ = point.unfiltered
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
    told = lambda text: progress(f'times, {text}')  # noqa: E731
    return take_turns(tasks, rounds, told, _LONG_ENOUGH), sizes


def _seconds(
    laps: Mapping[tuple, list], point: OperatingPoint, keys: float, lights: float, filtering: float
) -> np.ndarray:
    """Return the mean seconds of a frame, (rounds,), given shares of key and light frames and the filter's seconds."""
    key, light, tracked, reading = np.array(laps[point.unfiltered.method, point.scale]).T
    if point.method == 'frame':
        keys, lights = 1 / TIMED_FRAMES, 1 - 1 / TIMED_FRAMES
    seconds = keys * key + lights * light + (1 - keys - lights) * tracked + filtering
    return np.maximum(seconds, reading)
