"""Detections of operating points on clips: detections that points share are computed once."""

import math
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import chain, tee
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.structures import DetDataSample, SampleList
from mmengine.structures import InstanceData
from torch import Tensor, nn

from semidff.datasets.video_readers import Frame
from semidff.evaluation import Detections
from semidff.filter import picture_of
from semidff.inference import FixedSchedule, Stages
from semidff.inference.executors import Executor, executors_at_once
from semidff.inference.loading import frame_pipeline
from semidff.inference.point import Point
from semidff.inference.schedule import KEY, LIGHT, TRACKED
from semidff.models.key_frame import FlowField, KeyFrame
from semidff.utils.threads import default_workers, worker_threads
from semidff.utils.worker_pool import pool_map

from .clips import Clip

_TASKS = 4  # that a process takes at once


@dataclass
class Run:
    """Detections of a point on clips, with one phase of its key frames.

    Attributes:
        detections: Their ``frames`` count through all clips.
        seen: Which frames are key frames, (frames,) bool.
        counted: Numbers of frames, key frames and light frames for the average interval.
        filtering: Seconds that the filter of all frames took.
    """

    detections: Detections
    seen: np.ndarray
    counted: np.ndarray
    filtering: float = 0.0

    @classmethod
    def of(cls, results: SampleList, counted: Sequence[int] = (), filtering: float = 0.0) -> 'Run':
        """Take the results of the frames of a clip."""
        instances = [result.pred_instances for result in results]
        labels, scores, boxes = (
            torch.cat([boxes[key] for boxes in instances]) for key in ('labels', 'scores', 'bboxes')
        )
        frames = np.repeat(np.arange(len(instances)), [len(boxes) for boxes in instances])
        columns = labels.numpy(), scores.float().numpy(), boxes.float().numpy()
        seen = np.array([result.get('is_key_frame', False) for result in results])
        return cls(Detections(frames, *columns), seen, np.array(counted), filtering)

    @classmethod
    def join(cls, parts: Sequence['Run']) -> 'Run':
        """Concatenate the runs of clips."""
        starts = np.cumsum([0, *(len(part.seen) for part in parts)])
        moved = [
            replace(part.detections, frames=part.detections.frames + start)
            for part, start in zip(parts, starts, strict=False)
        ]
        columns = ([getattr(boxes, name) for boxes in moved] for name in vars(moved[0]))
        return cls(
            Detections(*map(np.concatenate, columns)),
            np.concatenate([part.seen for part in parts]),
            np.sum([part.counted for part in parts], axis=0),
            sum(part.filtering for part in parts),
        )


Case = tuple[Point, int]
"""A point, and its first key-frame interval, which is the phase of its key frames."""


def _cases_of(point: Point, phases: int) -> list[Case]:
    """Return the phases of the key frames: the first interval is l, l - l / phases, ..."""
    interval = point.key_interval
    firsts = sorted({interval - interval * number // phases for number in range(phases)})
    return [(point, first) for first in firsts]


def run_clips(
    executor: Executor,
    clips: Sequence[Clip],
    points: Sequence[Point],
    phases: int = 1,
    progress: Callable[[str, float], None] = lambda text, share: None,
    known: dict[Clip, dict] | None = None,
) -> dict[Point, list[Run]]:
    """Detect with points of one input size in clips, each of which begins with a key frame.

    On a CPU, clips are processed at once: by threads that detect, since runtimes do not survive a
    fork, and then by processes that filter.

    Args:
        progress: Is called with what was done, and the share of all that is done.
        known: Detections of this executor at this input size, to which those of the clips are
            added.

    Returns:
        A run for each phase of the key frames of each point.
    """
    cases = [case for point in points for case in _cases_of(point, phases)]
    on_cpu = next(executor.model.parameters()).device.type == 'cpu'
    workers = default_workers() if on_cpu else 1
    executors: SimpleQueue[Executor] = SimpleQueue()
    for free in executors_at_once(executor, min(workers, len(clips))):
        executors.put(free)
    count, detected = executors.qsize(), []
    # The causal filter is the first half of that of both ways.
    halves = {replace(point, filter='causal') for point in points if point.filter == 'both'}
    others = [case for case in cases if case[0] not in halves]
    tasks = [(number, case) for number in range(len(clips)) for case in others]
    size = f'input × {points[0].scale:g}'

    @torch.no_grad()
    def detect(clip: Clip) -> _Detected:
        free = executors.get()
        try:
            memo = Memo(free, None if known is None else known.setdefault(clip, {}))
            return _detect(memo, clip, cases)
        finally:
            executors.put(free)

    def complete(task: tuple[int, Case]) -> dict[Case, Run]:
        number, case = task
        return _complete(executor, clips[number], case, detected[number])

    # A GPU is the current one of this thread alone.
    with worker_threads(count) if count > 1 else nullcontext() as pool:
        for number, frames in enumerate((pool.map if pool else map)(detect, clips), start=1):
            detected.append(frames)
            progress(f'detections, {size}', number / len(clips) / 2)
    runs: dict[Case, list[Run]] = {case: [] for case in cases}
    for number, found in enumerate(pool_map(complete, tasks, workers, _TASKS), start=1):
        for case in runs.keys() & found.keys():
            runs[case].append(found[case])
        progress(f'filters, {size}', (1 + number / len(tasks)) / 2)
    joined: dict[Point, list[Run]] = {}
    for (point, _), parts in runs.items():
        joined.setdefault(point, []).append(Run.join(parts))
    return joined


class _Detected(NamedTuple):
    """What the cases of a clip share.

    Attributes:
        frames: Those of the unfiltered cases, with results.
        pictures: Of the filters, see :func:`~semidff.filter.picture_of`, which took ``seconds``.
    """

    frames: dict[Case, list[Frame]]
    pictures: list[np.ndarray]
    seconds: float


def _detect(memo: 'Memo', clip: Clip, cases: Sequence[Case]) -> _Detected:
    """Detect with all cases at once, so that the clip is decoded once, and is not kept."""
    pipeline = frame_pipeline(memo.model.cfg, scale=cases[0][0].scale)
    pictures, seconds = [], 0.0
    is_filtered = any(point.filter for point, _ in cases)

    def prepared() -> Iterator[Frame]:
        nonlocal seconds
        for index, image in enumerate(clip.images()):
            start = time.thread_time()  # of this thread, since other clips are processed meanwhile
            pictures.append(picture_of(image) if is_filtered else None)
            seconds += time.thread_time() - start
            packed = pipeline(dict(img=image))
            sample = packed['data_samples']
            sample.set_metainfo(dict(frame_id=index))
            yield Frame(image, index, inputs=packed['inputs'], sample=sample, picture=pictures[-1])

    def run(case: Case, frames: Iterable[Frame]) -> Iterator[Frame]:
        point, first = case
        rule = FixedSchedule(point.key_interval, first)
        own = (replace(frame, sample=frame.sample.new()) for frame in frames)
        return Stages(memo, point, rule, filters=False).run(own)

    detected: dict[Case, list[Frame]] = {(p.unfiltered, first): [] for p, first in cases}
    copies = tee(prepared(), len(detected))
    for frames in zip(*map(run, detected, copies), strict=True):
        for done, frame in zip(detected.values(), frames, strict=True):
            frame.image = frame.picture = None
            done.append(frame)
    for frame in chain(*detected.values()):
        if frame.key:
            frame.key.release()
    return _Detected(detected, pictures, seconds)


def _complete(executor: Executor, clip: Clip, case: Case, detected: _Detected) -> dict[Case, Run]:
    """Filter the frames of a clip; return its run, and that of the causal filter if it waits."""
    point, first = case
    every, frames = point.light_every or math.inf, detected.frames[point.unfiltered, first]
    kinds = [
        TRACKED if frame.position % every else KEY if frame.kind == KEY else LIGHT
        for frame in frames
    ]
    # The last frame of an excerpt is not counted if it begins an interval.
    count = len(frames) - bool(clip.stop and len(frames) > 1 and kinds[-1] == KEY)
    counted = count, kinds[:count].count(KEY), kinds[:count].count(LIGHT)
    if not point.filter:
        return {case: Run.of([frame.sample for frame in frames], counted)}
    start, results, causal = time.thread_time(), [], []
    follow = Stages(executor, point, FixedSchedule(point.key_interval)).new_follow()
    for frame, kind, picture in zip(frames, kinds, detected.pictures, strict=True):
        sample = frame.sample.new()
        results += follow.push(replace(frame, sample=sample, kind=kind, picture=picture))
        if point.filter == 'both':
            causal.append(sample.new())
            causal[-1].pred_instances = follow.causal()
            if not results:  # the filter has not run backward
                forward = (time.thread_time() - start) / len(causal)
    samples = [frame.sample for frame in (*results, *follow.flush())]
    seconds = detected.seconds + time.thread_time() - start
    runs = {case: Run.of(samples, counted, seconds)}
    if causal:
        seconds = detected.seconds + forward * len(frames)
        runs[replace(point, filter='causal'), first] = Run.of(causal, counted, seconds)
    return runs


class Memo:
    """Executor that remembers the detections of another executor, in a video at an input size.

    Methods and schedules differ in the pairs of key frame and frame that they choose, so that they
    share most detections. Features are not kept: those of a key frame are computed again when a
    pair is missing. Frames have their ``frame_id`` in the metainfo, and are computed one by one, so
    that results do not depend on batches.
    """

    def __init__(self, executor: Executor, known: dict | None = None) -> None:
        self.executor, self.model = executor, executor.model
        self._known: dict[tuple, InstanceData] = {} if known is None else known

    def prepare(self, key: Hashable, predict: Callable[[Executor], Any]) -> None:
        self.executor.prepare(key, lambda executor: predict(Memo(executor)))

    def predict_key(self, inputs: Tensor, samples: SampleList) -> tuple[SampleList, '_Key']:
        key = _Key(inputs, *samples)  # key frames are detected one by one
        if key.index not in self._known:
            [result], key.frame = self.executor.predict_key(inputs, samples)
            self._known[key.index] = _boxes(result.pred_instances)
        self._repeat(key.index, key.sample)
        return samples, key

    def predict_non_key(
        self,
        inputs: Tensor,
        samples: SampleList,
        key: '_Key',
        flow_field: FlowField | None = None,
    ) -> SampleList:
        for index, sample in enumerate(samples):
            pair, field = (key.index, sample.frame_id), flow_field and flow_field.frame(index)
            if pair not in self._known:
                key.frame = key.frame or self.model.key_frame(key.inputs, [key.sample])
                image = inputs[index : index + 1]
                [result] = self.executor.predict_non_key(image, [sample], key.frame, field)
                self._known[pair] = _boxes(result.pred_instances)
            self._repeat(pair, sample)
        return samples

    def flow_field(self, inputs: Tensor, key: KeyFrame) -> FlowField:
        return self.executor.flow_field(inputs, key)

    def with_temporal(self, temporal: nn.Module | None) -> 'Memo':
        return Memo(self.executor.with_temporal(temporal))

    def independent(self) -> None:
        return None

    def _repeat(self, index: tuple, sample: DetDataSample) -> None:
        sample.pred_instances = _boxes(self._known[index])  # whose tensors can be replaced


def _boxes(found: InstanceData) -> InstanceData:
    return InstanceData(bboxes=found.bboxes, scores=found.scores, labels=found.labels)


class _Key:
    """A key frame, with features if they were computed; methods may detect at other sizes, and on
    canvases.
    """

    def __init__(self, inputs: Tensor, sample: DetDataSample) -> None:
        self.inputs, self.sample = inputs, sample
        self.index = sample.frame_id, inputs.shape, sample.get('canvas')
        self.frame: KeyFrame | None = None

    def split(self) -> list['_Key']:
        return [self]
