"""Streaming accuracy (Li et al., ECCV 2020): frames are judged with the last result before them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from time import monotonic, sleep
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample, SampleList
from mmengine.structures import InstanceData

from semidff.datasets.video_readers import Frame, LiveStream
from semidff.evaluation import VIDEvaluator
from semidff.inference import Stages
from semidff.inference.loading import frame_pipeline

from .clips import Clip
from .measure import Load, agreement
from .reference import Reference
from .runs import Run
from .table import Table

_QUANTILES = 0.5, 0.95, 0.99  # of delays


def measure_live(
    table: Table,
    clips: Sequence[Clip],
    load: Load,
    rate: float,
    truth: VIDEvaluator | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> None:
    """Add the streaming accuracy of the best causal points, and of each method's best one.

    It is measured in real time with a camera of ``rate`` frames per second, with each latency that
    a point has. Agreement is with the reference's boxes on all frames.
    """
    causal = [point for point in table.measured if point.is_causal]
    causal.sort(key=lambda point: -table.metric(point, 'AP'))
    of_methods = {point.method: point for point in reversed(causal)}.values()
    reference = Reference.load(table)
    boxes = reference.raw if reference.is_raw else reference.filtered
    for point in [p for p in causal if p in (table.detector, *table.front(), *of_methods)]:
        stages, rows = Stages(load(point), point), []
        pipeline = frame_pipeline(stages.model.cfg, scale=point.scale)
        for latency in ('synchronous', 'bounded')[: 1 + stages.can_be_bounded]:
            parts, delays = [], []
            for clip in clips:
                images, is_bounded = list(clip.images()), latency == 'bounded'
                stream_clip(stages, pipeline, images[:5], rate, is_bounded)  # warm
                results, seconds = stream_clip(stages, pipeline, images, rate, is_bounded)
                parts.append(Run.of(results))
                delays += seconds
            run = Run.join(parts)
            count, min_score = len(run.seen), table.evidence['min_score']
            if truth:
                metrics = truth.coco_ap(run.detections)
            else:
                metrics, _ = agreement(boxes, run.detections, count, min_score)
            quantiles = np.quantile(delays, _QUANTILES).tolist()
            row = dict(latency=latency, rate=rate, metrics=metrics, delays=quantiles)
            rows.append(row | dict(dropped=1 - len(delays) / count))
            progress(f'live: {point}, {latency}: AP {100 * metrics["AP"]:.1f}')
        table.rows[point].live = rows
    table.save()


class _Camera:
    """A connection that gives images at a fixed rate; the address of the stream is not used."""

    is_recording, returns = False, False

    def __init__(self, images: Sequence[np.ndarray], rate: float, *address: Any) -> None:
        self._images, self._rate = images, rate

    def __iter__(self) -> Iterator[tuple[float, Callable[[], np.ndarray]]]:
        start = monotonic()
        for number, image in enumerate(self._images):
            sleep(max(start + number / self._rate - monotonic(), 0))
            yield number / self._rate, partial(np.asarray, image)

    def close(self) -> None:
        pass


def stream_clip(
    stages: Stages,
    pipeline: Callable[[dict], dict],
    images: Sequence[np.ndarray],
    rate: float,
    bounded: bool,
) -> tuple[SampleList, list[float]]:
    """Process the frames of a clip, (H, W, 3) uint8 BGR, at so many per second, in real time.

    Args:
        bounded: Whether key frames are detected in a second thread.

    Returns:
        What :func:`at_arrival` returns, and the seconds from the arrival of each frame that was not
        dropped to its result.
    """
    source, outputs = LiveStream('clip', connect=partial(_Camera, images, rate)), []

    def frames() -> Iterator[Frame]:
        for frame in stages.prepare(source, pipeline):
            yield frame
            if frame.index == len(images) - 1:
                return

    run = stages.run_bounded(frames()) if bounded else stages.run(frames(), chunk=1)
    with closing(source), closing(run):
        outputs += ((frame, monotonic(), frame.sample) for frame in run)
    delays = [time - frame.arrival for frame, time, _ in outputs]
    return at_arrival(outputs, len(images), rate), delays


def at_arrival(
    outputs: Sequence[tuple[Frame, float, DetDataSample]], count: int, rate: float
) -> SampleList:
    """Return, for each of ``count`` frames, the last result that was there when it arrived.

    Args:
        outputs: Frames, the times of their results by the clock of their arrival, and the results.
    """
    nothing = DetDataSample()
    nothing.pred_instances = InstanceData(
        bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.long)
    )
    start = min(frame.arrival - frame.index / rate for frame, *_ in outputs)  # some arrive late
    times = np.array([time - start for _, time, _ in outputs])
    before = np.searchsorted(times, np.arange(count) / rate, side='right')
    return [outputs[number - 1][2] if number else nothing for number in before]
