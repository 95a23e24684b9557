"""Accuracy and time of operating points, measured into a table.

Accuracy is that of all clips: by labels, or by the agreement with the detector
(:mod:`semidff.points.reference`). Times are those of :mod:`semidff.points.speed`: every method runs
clips of :data:`TIMED_FRAMES` frames at every input size. The time of a point is the mean at its
shares of key, light and tracked frames, and that of the filter, which is measured alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import Any

import numpy as np
import torch

from semidff.datasets.video_readers import Frame
from semidff.evaluation import Detections, VIDEvaluator
from semidff.evaluation.metrics import FIGURES, MIN_SCORE, class_ap, confident
from semidff.inference import FixedSchedule, Stages
from semidff.inference.executors import Executor
from semidff.inference.loading import frame_pipeline
from semidff.inference.point import Point
from semidff.utils.logs import log_warning

from .clips import Clip
from .reference import COMPARED, Reference, reference_of, stand_in
from .runs import Run, run_clips
from .speed import Laps, Timer, clips_of, on_clips, take_turns
from .table import DECIDING, Figures, Table

TIMED_FRAMES = 10

_MARGIN = 0.01  # of AP, by which a dominated point is worse
_LEAST_BOXES = 50  # confident boxes of the first clips, else all clips are measured at once
_KEPT = 0.6  # share of the points that remain, about
_LONG_ENOUGH = 60.0  # seconds of all times; those of slow detectors need fewer rounds

Load = Callable[[Point], Executor]
"""Returns the executor of a point; those that differ in method, filter or interval may share it."""

Progress = Callable[[str, float], None]
"""Takes what was done, and about which share of everything is done."""

Accuracy = tuple[dict[str, float], dict[str, list]]
"""Metrics, and boxes and AP by class."""


@torch.no_grad()
def measure(
    table: Table,
    points: Sequence[Point],
    clips: Sequence[Clip],
    load: Load,
    truth: VIDEvaluator | None = None,
    rounds: int = 3,
    progress: Progress = lambda text, share: None,
    refined: Callable[[], None] | None = None,
) -> None:
    """Measure the points that a table does not have; save it after each group of points.

    The detector itself is always measured. Points at which the detector fails, since some networks
    have a least input size, are noted in the table and logged; at the config's input size, the
    error is raised.

    Args:
        table: Entries of its key are ``min_score``, the least score of reference boxes, and
            ``phases``, over how many phases of the key frames accuracy is averaged.
        points: All of one runtime and precision.
        clips: The first one is that of the times, from its first frame on.
        truth: Evaluator of labeled clips.
        refined: If given, the first third of the clips is measured first, and only points that no
            other point clearly dominates there are measured on the others. It is called when a new
            table has the first group of points.
    """
    measurement = _Measurement(table, clips, load, truth, progress)
    missing, first = measurement.missing(points), len(clips) // 3 if refined else 0
    is_new, parts = not table.measured, [*filter(None, (clips[:first], clips[first:]))]
    for part in parts:
        is_last = part is parts[-1]
        for group in measurement.groups(missing, len(part), 0 if is_last else len(clips) - first):
            measurement.add_accuracy(group, part, is_last)
            if is_new and not is_last and table.rows:
                measurement.add_times(rounds)
                refined()
                is_new = False
        measurement.add_times(rounds)
        missing = measurement.left(missing)


@dataclass
class _Measurement:
    """What is measured, see :func:`measure`."""

    table: Table
    clips: Sequence[Clip]
    load: Load
    truth: VIDEvaluator | None
    report: Progress
    reference: Reference | None = None
    runs: dict[Point, list[Run]] = field(default_factory=dict)
    laps: dict[Point, tuple[list[Laps], list[Laps]]] = field(default_factory=dict)
    runtimes: dict[tuple, str | None] = field(default_factory=dict)
    detections: dict[tuple, dict[Clip, dict]] = field(default_factory=dict)
    done: float = 0.0
    total: float = 0.0

    def __post_init__(self) -> None:
        self.min_score = self.table.key.get('min_score', MIN_SCORE)
        self.known = Reference.load(self.table)

    def missing(self, points: Sequence[Point]) -> list[Point]:
        """Return the points to measure."""
        options = {name: getattr(points[0], name) for name in ('runtime', 'precision') if points}
        self.compared = [replace(point, **options) for point in COMPARED]
        missing = self._measurable(self.table.missing([Point('frame', **options), *points]))
        self.asked = missing
        return missing

    def groups(self, missing: Sequence[Point], clips: int, later: int) -> list[list[Point]]:
        """Return the points of each input size, with those of the reference.

        Args:
            clips, later: Numbers of clips for progress, now and when some points are left out.
        """
        needed = dict.fromkeys([*missing, *(() if self.known else self.compared)])
        self.total = self.done + len(needed) * (clips + _KEPT * later)
        return [list(members) for _, members in groupby(sorted(needed, key=_group), _group)]

    def add_accuracy(self, group: Sequence[Point], clips: Sequence[Clip], is_last: bool) -> None:
        """Add all figures but the times, of these clips and those before them."""
        table, executor, runs = self.table, self.load(group[0]), {}
        if (runtime := self._runtime(executor, group)) is None:
            return
        actual = {point: replace(point, runtime=runtime) for point in group}
        wanted = list(dict.fromkeys([*actual.values(), *map(stand_in, actual.values())]))
        phases, done, weight = table.key.get('phases', 1), self.done, len(group) * len(clips)

        def progress(text: str, share: float) -> None:
            self.done = done + share * weight
            self.report(text, self.done / self.total)

        known = self.detections.setdefault(_group(group[0])[:-1], {})
        found = run_clips(executor, clips, wanted, phases, progress, known)
        for point, own in found.items():
            before = self.runs.pop(point, ())
            runs[point] = [
                Run.join(parts) for parts in zip(*filter(None, (before, own)), strict=True)
            ]
        if not is_last:
            self.runs |= runs
        if self.known:
            self.reference = self.known.of_first(len(runs[actual[group[0]]][0].seen))
        elif all(point in actual for point in self.compared):  # the first group
            self._set_reference([runs[actual[point]][0] for point in self.compared], is_last)
        if not is_last and len(self.reference.raw) < _LEAST_BOXES:
            return
        names = self.truth.classes if self.truth else executor.model.dataset_meta['classes']
        for point in (point for point in table.missing(group) if point in self.asked):
            figures = self._figures(actual[point], runs, names)
            row = replace(figures, asked=point.runtime, is_partial=not is_last)
            table.rows[actual[point]] = row
        table.save()

    def left(self, missing: Sequence[Point]) -> list[Point]:
        """Leave out points that others dominate on the first clips; return what remains."""
        table = self.table
        for point, other in table.dominated(_MARGIN).items():
            asked = replace(point, runtime=table.rows.pop(point).asked)
            table.failed[asked] = f'on the first clips, {other} is faster and more accurate'
        return table.missing(missing)

    def _measurable(self, points: Sequence[Point]) -> list[Point]:
        """Leave out points whose interval is longer than all clips."""
        longest = max(clip.length() for clip in self.clips) if points else 0
        kept = []
        for point in points:
            if point.key_interval > longest:
                self.table.failed[point] = f'the longest clip has {longest} frames'
                log_warning(f'{point} is left out: {self.table.failed[point]}')
            else:
                kept.append(point)
        return kept

    def _runtime(self, executor: Executor, group: Sequence[Point]) -> str | None:
        """Return the runtime that computes points; None if the detector fails at their size."""
        if (key := _group(group[0])) in self.runtimes:
            return self.runtimes[key]
        self.runtimes[key] = None
        try:
            self.runtimes[key] = _probe(executor, group[0], self.clips)
        except Exception as error:  # whatever the code of any detector raises
            if group[0].scale == 1:
                raise
            log_warning(f'input × {group[0].scale:g} is left out, the detector fails: {error}')
            self.table.failed |= dict.fromkeys(group, f'{error}')
            self.table.save()
        return self.runtimes[key]

    def _set_reference(self, runs: Sequence[Run], is_last: bool) -> None:
        self.reference = reference_of(runs, self.min_score)
        name, count = 'raw' if self.reference.is_raw else 'filtered', len(self.reference.raw)
        if self.truth is not None:
            name, count = 'labels', len(self.truth.truth.boxes)
        self.table.evidence |= dict(
            frames=len(runs[0].seen),
            clips=len(self.clips),
            min_score=self.min_score,
            boxes=count,
            reference=name,
            ious=self.reference.ious,
        )
        if is_last:
            self.table.save()  # ahead of the reference, which is not made again
            self.reference.save(self.table)

    def _figures(self, point: Point, runs: dict[Point, list[Run]], names: Sequence[str]) -> Figures:
        """Return the figures of a point, but for its time, given the runs of all points."""
        pairs, every = zip(runs[point], runs[stand_in(point)], strict=False), runs[point]
        phases = [self._accuracy(run, unseen, names) for run, unseen in pairs]
        frames, keys, lights = np.sum([run.counted for run in every], axis=0)
        total = sum(len(run.seen) for run in every)
        boxes = sum((run.detections.scores >= self.min_score).sum() for run in every)
        return Figures(
            {name: float(np.mean([phase[name] for phase, _ in phases])) for name in phases[0][0]},
            boxes=float(boxes / total),
            interval=float(frames / keys),
            lights=float(lights / frames),
            filtering=sum(run.filtering for run in every) / total,
            classes=phases[0][1],
        )

    def _accuracy(self, run: Run, unseen: Run, names: Sequence[str]) -> Accuracy:
        """Return the accuracy of a run; ``unseen`` is the run that is compared with raw boxes."""
        reference, truth = self.reference, self.truth

        def against(is_raw: bool) -> Accuracy:
            compared = reference.compared(unseen if is_raw else run, is_raw)
            return agreement(*compared, len(run.seen), self.min_score, names)

        if truth is None:
            metrics, classes = against(reference.is_raw)
            other, _ = against(not reference.is_raw)
            prefix = 'filtered' if reference.is_raw else 'unseen'
            return metrics | {f'{prefix}/{name}': other[name] for name in DECIDING}, classes
        frames = np.arange(len(run.seen))
        result = truth.evaluate(run.detections, frames)
        metrics = dict(mAP=result.mean(), **truth.coco_ap(run.detections, frames))
        if len(reference.raw) and (reference.filtered.scores >= self.min_score).any():
            other, _ = against(reference.is_raw)
            metrics |= {f'agreement/{name}': other[name] for name in DECIDING}
        figures = zip(names, result.num_boxes.tolist(), result.ap.tolist(), strict=True)
        return metrics, {name: [count, ap] for name, count, ap in figures if count}

    def add_times(self, rounds: int) -> None:
        """Add the times of rows that have none, relative to the detector in the same rounds."""
        table = self.table
        untimed = [point for point, figures in table.rows.items() if figures.seconds is None]
        if not untimed:
            return
        detector = table.detector
        cases = {_case(p): p.unfiltered for p in untimed if _case(p) not in self.laps}
        if cases:
            cases |= {_case(detector): detector}
            report = lambda text: self.report(text, self.done / max(self.total, 1))  # noqa: E731
            laps = times(cases, self.clips[0], self.load, rounds, report)
            self.laps |= {case: (own, laps[_case(detector)]) for case, own in laps.items()}

        def seconds(point: Point, laps: Sequence[Laps]) -> float:
            row = table.rows[point]
            shares = (1.0, 0.0) if point.method == 'frame' else (1 / row.interval, row.lights)
            return float(np.median([lap.total(*shares, row.filtering) for lap in laps]))

        own, _ = self.laps[_case(detector)]
        unit = table.rows[detector].seconds or seconds(detector, own)
        for point in untimed:
            own, beside = self.laps[_case(point)]
            table.rows[point].seconds = unit * seconds(point, own) / seconds(detector, beside)
        timed = self.clips[0].path or self.clips[0].files[0]
        table.evidence |= dict(timed=timed, rounds=len(own))
        table.save()


def _group(point: Point) -> tuple:
    """Return what points differ in that are not detected together.

    The reference is made of the first group, which has results before light frames are detected.
    """
    return point.scale != 1, -point.scale, point.uses_temporal, point.method in ('small', 'focus')


def _case(point: Point) -> Point:
    """Return what the times of key and light frames depend on."""
    return replace(point.unfiltered, key_interval=1)


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


def agreement(
    reference: Detections,
    found: Detections,
    num_frames: int,
    min_score: float = MIN_SCORE,
    names: Sequence[str] = (),
) -> Accuracy:
    """Compute COCO's AP with the confident boxes of a reference as ground truth.

    Classes are weighted by their boxes in the reference: in a plain mean, rare classes decide.

    Returns:
        The metrics, and boxes and AP of each class of the reference.
    """
    truth = confident(reference, num_frames, min_score)
    count = 1 + int(max(truth.labels.max(), found.labels.max(initial=0)))
    boxes, figures = class_ap(truth, found, count)
    metrics = {name: float(np.average(figures[name], weights=boxes)) for name in FIGURES}
    labels = np.flatnonzero(boxes).tolist()
    name_of = dict(enumerate(names))
    classes = {
        name_of.get(label, str(label)): [int(boxes[label]), float(figures['AP'][label])]
        for label in labels
    }
    return metrics, classes


def times(
    cases: dict[Any, Point],
    clip: Clip,
    load: Load,
    rounds: int = 3,
    progress: Callable[[str], None] = lambda text: None,
    frames: int = TIMED_FRAMES,
) -> dict[Any, list[Laps]]:
    """Return the laps of unfiltered points in clips of so many frames, by turns.

    The clip is read from its first frame on, since seeking must not be timed.
    """
    clip, tasks = clip._replace(start=0, stop=None), {}
    for case, point in cases.items():
        executor = load(point)
        pipeline = frame_pipeline(executor.model.cfg, scale=point.scale)
        timer = Timer(executor, point, pipeline, frames, filters=False)
        tasks[case] = on_clips(timer.run, clips_of(clip, frames + 1))
    return take_turns(tasks, rounds, lambda text: progress(f'times, {text}'), _LONG_ENOUGH)
