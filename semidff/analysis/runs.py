"""Runs of operating points over clips, which share detections and are filtered by themselves."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain, groupby
from queue import SimpleQueue
from typing import NamedTuple

import numpy as np
import torch
from mmdet.structures import DetDataSample, SampleList
from mmengine.dataset import pseudo_collate

from semidff.datasets.video_readers import Frame
from semidff.evaluation import Detections
from semidff.filter import picture_of
from semidff.inference import AdaptiveSchedule, ErrorPredictor, FixedSchedule, VideoEngine
from semidff.inference.executors import Executor, RememberedDetections, executors_at_once
from semidff.inference.loading import frame_pipeline
from semidff.inference.methods import method_class
from semidff.inference.schedules import KeyFrameSchedule
from semidff.utils.threads import default_workers, worker_threads
from semidff.utils.worker_pool import pool_map

from .evaluation_clips import EvaluationClip

ADAPTIVE = 'adaptive'
"""Method *propagate* with an adaptive schedule."""


class OperatingPoint(NamedTuple):
    """How a video detector is run.

    Attributes:
        method: A method of :class:`~semidff.inference.VideoEngine`, or *adaptive*.
        key_interval: Key-frame interval l; with *adaptive*, the requested average; with *frame*, 1.
        scale: Input size relative to that of the config, for height and width.
        light_every, filter: Those of the engine.
    """

    method: str
    key_interval: int = 1
    scale: float = 1.0
    light_every: int = 1
    filter: str | None = None

    @property
    def run_as(self) -> str:
        """The engine's method."""
        return 'propagate' if self.method == ADAPTIVE else self.method

    @property
    def unfiltered(self) -> 'OperatingPoint':
        """The point whose detections are filtered."""
        method = 'copy' if self.method == 'track' else self.method
        return OperatingPoint(method, self.key_interval, self.scale)

    def completed(self) -> 'OperatingPoint':
        """Return the point with the values that its method or its tracked frames imply."""
        interval = 1 if self.method == 'frame' else self.key_interval
        every = dict(frame=1, track=0).get(self.method, self.light_every)
        chosen = self.filter or (None if every == 1 else 'causal')
        return OperatingPoint(self.method, interval, self.scale, every, chosen)

    @property
    def needs_temporal(self) -> bool:
        return method_class(self.run_as).uses_temporal


REFERENCE = OperatingPoint('frame', filter='both')
"""What the agreement is measured with where the filter is good: boxes that do not flicker."""


@dataclass
class Run:
    """A run of an operating point over all clips.

    Attributes:
        found: Of each clip, the number of detections of each frame, and their labels, scores and boxes.
        seen: Of each clip, whether a frame is a key frame, (frames,) bool.
        frames: Number of frames; ``keys`` of them are key frames, and ``lights`` light frames.
        filtering: Seconds that the filter of all frames took.
    """

    point: OperatingPoint
    schedule: KeyFrameSchedule
    found: list[tuple[np.ndarray, ...]] = field(default_factory=list)
    seen: list[np.ndarray] = field(default_factory=list)
    frames: int = 0
    keys: int = 0
    lights: int = 0
    filtering: float = 0.0

    def add(self, results: SampleList) -> None:
        """Add what was found in a clip."""
        found = [result.pred_instances for result in results]
        labels, scores, boxes = (
            torch.cat([one[key] for one in found]) for key in ('labels', 'scores', 'bboxes')
        )
        counts = np.array([len(one) for one in found])
        self.seen.append(np.array([one.get('is_key_frame', False) for one in results]))
        self.found.append((counts, labels.numpy(), scores.float().numpy(), boxes.float().numpy()))

    def detections(self) -> Detections:
        counts, *columns = map(np.concatenate, zip(*self.found, strict=True))
        return Detections(np.repeat(np.arange(len(counts)), counts), *columns)


def runs_of(
    point: OperatingPoint,
    predictor: ErrorPredictor | None,
    phases: int,
) -> list[Run]:
    """Return a run for each phase of the key frames: the first interval is l, l - l / phases, ..."""
    interval = point.key_interval
    if point.method == ADAPTIVE:
        return [Run(point, AdaptiveSchedule(predictor, interval=interval))]
    firsts = sorted({interval - interval * number // phases for number in range(phases)})
    return [Run(point, FixedSchedule(interval, first)) for first in firsts]


def detect_clips(
    executor: Executor,
    clips: Sequence[EvaluationClip],
    runs: Mapping[OperatingPoint, Sequence[Run]],
    progress: Callable[[str], None],
) -> None:
    """Detect with all runs in all clips, each of which begins with a key frame.

    On a CPU, clips are processed at once: by threads that detect, since runtimes do not survive a fork, and then by
    processes that filter.
    """
    if not runs:
        return
    on_cpu = next(executor.model.parameters()).device.type == 'cpu'
    workers = min(default_workers(), len(clips)) if on_cpu else 1
    executors: SimpleQueue[Executor] = SimpleQueue()
    for one in executors_at_once(executor, workers):
        executors.put(one)

    @torch.no_grad()
    def detect(clip: EvaluationClip) -> _Results:
        free = executors.get()
        try:
            return _detections(free, clip, runs)
        finally:
            executors.put(free)

    methods, results = ', '.join(dict.fromkeys(point.method for point in runs)), []
    count = executors.qsize()
    # A GPU is the current one of this thread alone.
    with worker_threads(count) if count > 1 else nullcontext() as pool:
        for number, found in enumerate((pool.map if pool else map)(detect, clips), start=1):
            results.append(found)
            progress(f'detections of {methods}: clip {number} of {len(clips)}')
    complete = lambda number: _runs_in(executor, clips[number], runs, results[number])  # noqa: E731
    for number, pieces in enumerate(pool_map(complete, range(len(clips)), workers), start=1):
        for run, piece in zip(chain(*runs.values()), chain(*pieces), strict=True):
            for name in ('found', 'seen', 'frames', 'keys', 'lights', 'filtering'):
                setattr(run, name, getattr(run, name) + getattr(piece, name))
        progress(f'filters: clip {number} of {len(clips)}')


def detect_clip(
    executor: Executor, clip: EvaluationClip, runs: Mapping[OperatingPoint, Sequence[Run]]
) -> list[list[Run]]:
    """Return what all runs find in a clip."""
    return _runs_in(executor, clip, runs, _detections(executor, clip, runs))


# By point and phase of the key frames. Points that differ in light frames and filter alone share them.
_Results = dict[tuple[OperatingPoint, int], SampleList]


def _detections(
    executor: Executor, clip: EvaluationClip, runs: Mapping[OperatingPoint, Sequence[Run]]
) -> _Results:
    """Return the results in a clip without filter."""
    found: _Results = {}
    for scale in dict.fromkeys(point.scale for point in runs):
        pipeline = frame_pipeline(executor.model.cfg, scale=scale)
        remembered = RememberedDetections(executor)
        items = [pipeline(dict(img=image)) for image in clip.images()]
        for point, several in runs.items():
            for phase, run in enumerate(several if point.scale == scale else ()):
                if (case := (point.unfiltered, phase)) not in found:
                    found[case] = list(_results(remembered, run, items))
    return found


def _runs_in(
    executor: Executor,
    clip: EvaluationClip,
    runs: Mapping[OperatingPoint, Sequence[Run]],
    detections: _Results,
) -> list[list[Run]]:
    """Return all runs in a clip, given their results without filter."""
    pictures, seconds = [], 0.0
    for image in clip.images() if any(point.filter for point in runs) else ():
        start = time.thread_time()
        pictures.append(picture_of(image))
        seconds += time.thread_time() - start

    def complete(run: Run, results: SampleList) -> Run:
        run, positions = Run(run.point, run.schedule), []
        for result in results:
            positions.append(0 if result.is_key_frame else positions[-1] + 1)
        # The last frame of an excerpt is not counted if it begins an interval.
        counted = len(results) - bool(clip.stop and len(results) > 1 and not positions[-1])
        every = run.point.light_every or math.inf
        distances = [position % every for position in positions]  # to a key or light frame
        run.frames, run.keys = counted, positions[:counted].count(0)
        run.lights = distances[:counted].count(0) - run.keys
        if run.point.filter:
            start = time.thread_time()  # other clips are processed meanwhile
            frames = zip(results, distances, pictures, strict=True)
            results = _filtered(executor, run, frames)
            run.filtering = seconds + time.thread_time() - start
        run.add(results)
        return run

    return [
        [complete(run, detections[point.unfiltered, at]) for at, run in enumerate(several)]
        for point, several in runs.items()
    ]


def _results(
    executor: RememberedDetections, run: Run, items: Sequence[dict]
) -> Iterator[DetDataSample]:
    """Yield the results of a run in the packed frames of a clip, without filter."""

    def batches() -> Iterator[dict]:
        for index, item in enumerate(items):
            sample = item['data_samples'].new()
            sample.set_metainfo(dict(frame_id=index))
            yield pseudo_collate([dict(item, data_samples=sample)])

    method = run.point.unfiltered.run_as
    yield from VideoEngine(executor, method, schedule=run.schedule).run(batches())


def _filtered(executor: Executor, run: Run, frames: Iterable[tuple]) -> SampleList:
    """Filter results as the engine does, given with their distances, which are 0 unless tracked, and pictures."""
    method, kind = run.point.run_as, run.point.filter
    options = dict(schedule=run.schedule, filter=kind)
    engine, found = VideoEngine(executor, method, **options), []
    for _, alike in groupby(frames, lambda frame: frame[0].ori_shape):
        follow = engine.new_follow()
        for result, distance, picture in alike:
            kind = 'tracked' if distance else 'key' if result.is_key_frame else 'light'
            frame = Frame(None, 0, sample=result.new(), picture=picture, kind=kind)
            found += follow.push(frame)
        found += follow.flush()
    return [frame.sample for frame in found]
