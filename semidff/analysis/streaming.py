"""Streaming accuracy (Li et al., ECCV 2020): each frame is judged with what had been output by the time it arrived."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from time import monotonic, sleep
from typing import NamedTuple

import numpy as np
import torch
from mmdet.structures import DetDataSample, SampleList
from mmengine.structures import InstanceData

from semidff.datasets.video_readers import Frame, LiveStream
from semidff.datasets.video_readers.live import Connection, LiveOptions, Pictures
from semidff.inference import Stages, VideoEngine


def _camera(
    images: Sequence[np.ndarray], rate: float, source: str, options: LiveOptions
) -> Connection:
    """Return a source that gives images at a fixed rate, with the arguments of ``open_address`` behind them."""

    def pictures() -> Pictures:
        start = monotonic()
        for number, image in enumerate(images):
            sleep(max(start + number / rate - monotonic(), 0))
            yield number / rate, partial(np.asarray, image)

    return Connection(pictures(), lambda: None, returns=False)


class Streamed(NamedTuple):
    """A clip that was processed as it came.

    Attributes:
        results: For each frame of the clip, the last result that was there when it arrived; an empty one before the
            first.
        delays: Seconds from the arrival of a frame to its result, for those that were not dropped.
        key_ages: Frames since the last key frame that a result depends on.
    """

    results: SampleList
    delays: list[float]
    key_ages: list[int]


def stream_clip(
    engine: VideoEngine,
    pipeline: Callable[[dict], dict],
    images: Sequence[np.ndarray],
    rate: float,
    bounded: bool,
) -> Streamed:
    """Process the frames of a clip, (H, W, 3) uint8 BGR, at ``rate`` frames per second, in real time.

    Args:
        bounded: Whether key frames are detected in a second thread.
    """
    source = LiveStream('clip', connect=partial(_camera, images, rate))

    def frames() -> Iterator[Frame]:
        for frame in engine.prepare(source, pipeline):
            yield frame
            if frame.index == len(images) - 1:
                return

    run = engine.run_bounded(frames()) if bounded else Stages.run(engine, frames(), chunk=1)
    outputs, key_ages, last_key = [], [], 0
    with closing(source), closing(run):
        for frame in run:
            sample = frame.sample
            outputs.append((frame, monotonic(), sample))
            last_key = frame.index if sample.is_key_frame else last_key
            key_ages.append(sample.get('key_age', frame.index - last_key))
    delays = [time - frame.arrival for frame, time, _ in outputs]
    return Streamed(at_arrival(outputs, len(images), rate), delays, key_ages)


def at_arrival(
    outputs: Sequence[tuple[Frame, float, DetDataSample]], count: int, rate: float
) -> SampleList:
    """Return, for each of ``count`` frames, the last result that was there when it arrived.

    Args:
        outputs: Frames, the times of their results, by the clock of their arrival, and the results.
    """
    nothing = DetDataSample()
    nothing.pred_instances = InstanceData(
        bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.long)
    )
    first = outputs[0][0]
    start = first.arrival - first.index / rate
    times = np.array([time - start for _, time, _ in outputs])
    before = np.searchsorted(times, np.arange(count) / rate, side='right')
    return [outputs[number - 1][2] if number else nothing for number in before]
