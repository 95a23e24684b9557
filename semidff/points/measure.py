"""Accuracy and time of operating points, measured into a table; what the table has is not measured again.

Accuracy is that of all clips: by labels, or by the agreement with the detector (:mod:`semidff.points.reference`).
Times are those of :mod:`semidff.points.speed`: every method runs clips of :data:`TIMED_FRAMES` frames at every input
size. The time of a point is the mean at its shares of key, light and tracked frames, and that of the filter, which is
measured alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby, islice
from typing import Any

import numpy as np
import torch

from semidff.datasets.video_readers import Frame
from semidff.evaluation import Detections, VIDEvaluator
from semidff.evaluation.metrics import FIGURES, MIN_SCORE, class_ap, confident
from semidff.inference import AdaptiveSchedule, ErrorPredictor, FixedSchedule, Stages
from semidff.inference.executors import RUNTIMES, Executor
from semidff.inference.loading import frame_pipeline
from semidff.inference.point import ADAPTIVE, Point
from semidff.utils.logs import log_warning
from semidff.utils.threads import default_workers
from semidff.utils.worker_pool import pool_map

from .clips import Clip
from .reference import COMPARED, Reference, reference_of, stand_in
from .runs import Run, run_clips
from .speed import Laps, Timer, clips_of, on_clips, pack_with, take_turns
from .table import Figures, Table

TIMED_FRAMES = 10

REFERENCE = 'reference.npz'
"""File of the reference's boxes, beside the table."""

_LONG_ENOUGH = 60.0  # seconds of all times; those of slow detectors need fewer rounds

Load = Callable[[Point], Executor]
"""Returns the executor of a point; points that differ in method, filter or interval alone may share it."""


@torch.no_grad()
def measure(
    table: Table,
    points: Sequence[Point],
    clips: Sequence[Clip],
    load: Load,
    truth: VIDEvaluator | None = None,
    predictor: ErrorPredictor | None = None,
    rounds: int = 3,
    progress: Callable[[str], None] = lambda text: None,
) -> None:
    """Measure the points that a table does not have; save it as soon as a group of points is measured.

    The detector itself is always measured. Points at which the detector fails, since some networks have a least input
    size, are noted in the table and logged; at the config's input size, the error is raised.

    Args:
        table: ``min_score``, the least score of reference boxes, and ``phases``, over how many phases of the key frames
            accuracy is averaged, are entries of its key.
        points: All of one runtime and precision.
        clips: The first one is that of the times, from its first frame on.
        truth: Evaluator of labeled clips.
        predictor: Of adaptive key frames.
    """
    same = dict(runtime=points[0].runtime, precision=points[0].precision) if points else {}
    detector = Point('frame', **same)
    lengths = [clip.length() for clip in clips] if table.missing(points) else []
    points = _measurable([detector, *points], max(lengths, default=0), table, predictor)
    reference = Reference.load(table.file.with_name(REFERENCE), table.key)
    compared = [replace(point, **same) for point in COMPARED]
    group_of = lambda point: (point.scale != 1, -point.scale, point.uses_temporal)  # noqa: E731
    missing = table.missing(points)
    needed = {*missing} if reference else {*missing, *compared}
    for _, members in groupby(sorted(needed, key=group_of), group_of):
        group = list(members)
        if not (runs := _run_group(table, group, clips, load, predictor, progress)):
            continue
        if not reference:  # the first group has all that it is made of
            actual = runs['runtime']
            known = [runs[replace(point, runtime=actual)][0] for point in compared]
            reference = reference_of(known, _min_score(table))
            table.evidence |= dict(
                frames=len(known[0].seen), clips=len(clips), min_score=_min_score(table)
            )
            table.evidence |= _boxes_of(reference, truth, table)
            table.save()  # ahead of the reference, which is not made again
            reference.save(table.file.with_name(REFERENCE), table.key)
        _add_rows(table, [p for p in group if p in missing], runs, reference, truth, load)
        table.save()
    _add_times(table, clips[0], load, predictor, rounds, progress)


def _measurable(
    points: Sequence[Point], longest: int, table: Table, predictor: ErrorPredictor | None
) -> list[Point]:
    """Leave out points whose interval no clip has, or for which the adaptive schedule is not calibrated."""
    kept = []
    for point in dict.fromkeys(points):
        known = () if predictor is None else predictor.intervals
        if point.key_interval < 1 or not point.scale > 0:
            raise ValueError(f'{point}: needs key_interval >= 1 and scale > 0')
        if point.method == ADAPTIVE and not known:
            raise ValueError(
                f'{point}: needs a calibrated error predictor, made by tools/analysis/fit_adaptive.py: give its file'
            )
        if point.method == ADAPTIVE and not known[0] <= point.key_interval <= known[-1]:
            continue
        if longest and point.key_interval > longest and point in table.missing([point]):
            table.failed[point] = f'the longest clip has {longest} frames'
            log_warning(f'{point} is left out: {table.failed[point]}')
            continue
        kept.append(point)
    return kept


def _min_score(table: Table) -> float:
    return table.key.get('min_score', MIN_SCORE)


def _boxes_of(reference: Reference, truth: VIDEvaluator | None, table: Table) -> dict[str, Any]:
    """Return on how many boxes the figures rest, and which reference they are compared with."""
    if truth is not None:
        return dict(boxes=len(truth.truth.boxes), reference='labels', ious=reference.ious)
    name = 'raw' if reference.is_raw else 'filtered'
    return dict(boxes=len(reference.raw), reference=name, ious=reference.ious)


def _run_group(
    table: Table,
    group: Sequence[Point],
    clips: Sequence[Clip],
    load: Load,
    predictor: ErrorPredictor | None,
    progress: Callable[[str], None],
) -> dict:
    """Return the runs of points of one input size and executor; nothing if the detector fails at this size.

    Points have the runtime that computes them; ``runtime`` is its name.
    """
    executor = load(group[0])
    try:
        actual = _probe(executor, group[0], clips)
    except Exception as error:  # whatever the code of any detector raises
        if group[0].scale == 1:
            raise
        table.failed |= dict.fromkeys(group, str(error))
        log_warning(f'input size × {group[0].scale:g} is left out, the detector fails: {error}')
        table.save()
        return {}
    wanted = [replace(point, runtime=actual) for point in group]
    wanted = list(dict.fromkeys([*wanted, *map(stand_in, wanted)]))
    runs = run_clips(executor, clips, wanted, predictor, table.key.get('phases', 1), progress)
    return runs | dict(runtime=actual)


def _probe(executor: Executor, point: Point, clips: Sequence[Clip]) -> str:
    """Run two frames of each size; return the runtime that computes them."""
    pipeline = frame_pipeline(executor.model.cfg, scale=point.scale)
    first = [list(islice(clip.images(), 2)) for clip in clips]
    for images in {images[0].shape: images for images in first if images}.values():
        stages = Stages(executor, point.unfiltered, FixedSchedule(2))
        frames = (Frame(image, index) for index, image in enumerate(images))
        for _ in stages.run(stages.prepare(frames, pipeline)):
            pass
    return getattr(executor, 'runs_in', 'torch')


def _add_rows(
    table: Table,
    asked: Sequence[Point],
    runs: dict,
    reference: Reference,
    truth: VIDEvaluator | None,
    load: Load,
) -> None:
    """Add the figures of points but for their times."""
    points = [replace(point, runtime=runs['runtime']) for point in asked]
    names = truth.classes if truth else load(asked[0]).model.dataset_meta['classes']
    judged = partial(_accuracy, reference=reference, truth=truth, names=names, table=table)

    def accuracy(point: Point) -> list[tuple[dict[str, float], dict[str, list]]]:
        pairs = zip(runs[point], runs[stand_in(point)], strict=False)
        return [judged(run, seen_apart) for run, seen_apart in pairs]

    found = pool_map(accuracy, points, default_workers())
    for point, own, phases in zip(points, asked, found, strict=True):
        frames, keys, lights = np.sum([run.counted for run in runs[point]], axis=0)
        total = sum(len(run.seen) for run in runs[point])
        sure = [(run.detections.scores >= _min_score(table)).sum() for run in runs[point]]
        table.rows[point] = Figures(
            {name: float(np.mean([one[name] for one, _ in phases])) for name in phases[0][0]},
            boxes=float(sum(sure) / total),
            interval=float(frames / keys),
            lights=float(lights / frames),
            filtering=sum(run.filtering for run in runs[point]) / total,
            asked=own.runtime,
            classes=phases[0][1],
        )


def _accuracy(
    run: Run,
    judged: Run,
    reference: Reference,
    truth: VIDEvaluator | None,
    names: Sequence[str],
    table: Table,
) -> tuple[dict[str, float], dict[str, list]]:
    """Return the metrics of a run, of which ``judged`` is compared with raw boxes, and those of classes."""

    def against(is_raw: bool) -> tuple[dict[str, float], dict[str, list]]:
        boxes, found = reference.compared(judged if is_raw else run, is_raw)
        return agreement(boxes, found, len(run.seen), _min_score(table), names)

    if truth is None:
        metrics, classes = against(reference.is_raw)
        other, prefix = against(not reference.is_raw)[0], ('unseen', 'filtered')[reference.is_raw]
        return metrics | {f'{prefix}/{name}': other[name] for name in ('AP', 'AP_50')}, classes
    result = truth.evaluate(run.detections)
    metrics = dict(mAP=result.mean(), **truth.coco_ap(run.detections))
    if len(reference.raw) and (reference.filtered.scores >= _min_score(table)).any():
        other = against(reference.is_raw)[0]
        metrics |= {f'agreement/{name}': other[name] for name in ('AP', 'AP_50')}
    pairs = zip(names, result.num_boxes.tolist(), result.ap.tolist(), strict=True)
    return metrics, {name: [count, ap] for name, count, ap in pairs if count}


def agreement(
    reference: Detections,
    found: Detections,
    num_frames: int,
    min_score: float = MIN_SCORE,
    names: Sequence[str] = (),
) -> tuple[dict[str, float], dict[str, list]]:
    """Compute COCO's AP with the confident boxes of a reference as ground truth.

    Classes are weighted by their boxes in the reference: in a plain mean, rare classes decide.

    Returns:
        The metrics, and boxes and AP of each class of the reference.
    """
    truth = confident(reference, num_frames, min_score)
    count = 1 + int(max(truth.labels.max(), found.labels.max(initial=0)))
    boxes, figures = class_ap(truth, found, num_frames, count)
    metrics = {name: float(np.average(figures[name], weights=boxes)) for name in FIGURES}
    labels = np.flatnonzero(boxes).tolist()
    name_of = dict(enumerate(names))
    classes = {
        name_of.get(label, str(label)): [int(boxes[label]), float(figures['AP'][label])]
        for label in labels
    }
    return metrics, classes


def _add_times(
    table: Table,
    clip: Clip,
    load: Load,
    predictor: ErrorPredictor | None,
    rounds: int,
    progress: Callable[[str], None],
) -> None:
    """Add the times of rows that have none, relative to the detector in the same rounds."""
    untimed = [point for point, own in table.rows.items() if own.seconds is None]
    if not untimed:
        return
    detector = table.detector
    cases = {_case(point): point.unfiltered for point in [detector, *untimed]}
    laps = times(cases, clip, load, predictor, rounds, progress)

    def seconds(point: Point) -> float:
        own = table.rows[point]
        shares = (1.0, 0.0) if point.method == 'frame' else (1 / own.interval, own.lights)
        return float(np.median([lap.total(*shares, own.filtering) for lap in laps[_case(point)]]))

    before = table.rows[detector].seconds
    scale = 1.0 if before is None else before / seconds(detector)
    for point in untimed:
        table.rows[point].seconds = scale * seconds(point)
    table.evidence |= dict(timed=clip.path or clip.files[0], rounds=len(laps[_case(detector)]))
    table.save()


def _case(point: Point) -> tuple:
    """Return what the times of key and light frames depend on."""
    own = point.unfiltered
    return own.method, own.scale, own.runtime, own.precision


def times(
    cases: dict[Any, Point],
    clip: Clip,
    load: Load,
    predictor: ErrorPredictor | None = None,
    rounds: int = 3,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[Any, list[Laps]]:
    """Return the laps of unfiltered points in clips of :data:`TIMED_FRAMES` frames, in which all take turns.

    The clip is read from its first frame on, since seeking must not be timed.
    """
    clip, tasks = clip._replace(start=0, stop=None), {}
    for case, point in cases.items():
        executor = load(point)
        schedule = None
        if point.method == ADAPTIVE:
            schedule = AdaptiveSchedule(predictor, tolerance=float('inf'))
        pack = pack_with(frame_pipeline(executor.model.cfg, scale=point.scale))
        timer = Timer(executor, point, pack, TIMED_FRAMES, schedule)
        tasks[case] = on_clips(timer.run, clips_of(clip, TIMED_FRAMES + 1))
    log = lambda text: progress(f'times, {text}')  # noqa: E731
    return take_turns(tasks, rounds, log, _LONG_ENOUGH)


def fastest_runtime(
    table: Table, clip: Clip, load: Load, progress: Callable[[str], None] = lambda text: None
) -> str:
    """Return the runtime in which the detector is fastest, which is measured once and kept in the table.

    Those that are not installed, and those that cannot run its graph, are left out. On a GPU, it is ``torch``.
    """
    if not table.runtimes:
        cases = {'torch': Point('frame')}
        if not next(load(cases['torch']).model.parameters()).is_cuda:
            cases |= {name: Point('frame', runtime=name) for name in RUNTIMES if _installed(name)}
        progress(f'comparing the runtimes {", ".join(cases)}, once')
        cases = {n: point for n, point in cases.items() if _probe(load(point), point, [clip]) == n}
        laps = times(cases, clip, load)
        table.runtimes = {
            name: float(np.median([lap.total(1.0) for lap in own])) for name, own in laps.items()
        }
        table.save()
    return min(table.runtimes, key=table.runtimes.get)


def _installed(runtime: str) -> bool:
    try:
        RUNTIMES[runtime].check()
    except ImportError:
        return False
    return True
