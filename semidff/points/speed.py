"""Speed of video detectors: the protocol of all measurements of this package.

Files are processed in chunks, on a CPU several intervals at once. A *clip* is a key frame, which is
not counted, and the l frames after it, of which the last is the next key frame: so work at a key
frame on the frames before it is counted. Its frames are prepared; then all *workers* run the clip
at the same time. Seconds are those of the detection (``Frame.seconds``); all frames share the rest.

What is compared takes turns: each round runs everything on a clip with the same frames, so that
noise of the machine affects all of it, and speed-ups compare times of a round. The first round is
the warm-up. The time at an interval l is (t_key + n t_light) / l with n light frames.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice, repeat
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn

from semidff.datasets.video_readers import Frame
from semidff.inference import FixedSchedule, Stages
from semidff.inference.executors import Executor, as_executor, executors_at_once
from semidff.inference.point import Point
from semidff.inference.schedule import KEY, LIGHT
from semidff.models.key_frame import KeyFrame
from semidff.models.spatial import plain_samples
from semidff.models.video_detector import VideoDetector
from semidff.utils.threads import default_workers, worker_threads

from .clips import Clip

MOST_DENSE_FRAMES = 10
"""Longest clip of method *frame*, whose frames all take the same time."""

PARTS = {
    'to_device': 'copy to the device, normalization, padding',
    'feature_network': 'N_feat: feature network',
    'flow': 'F: flow network',
    'scale': 'S: scale field',
    'flow_and_scale': 'F + S: flow network with its downsampled input, scale field',
    'warp': 'W: warp, product and correction',
    'task_network': 'N_task: task network',
    'task_non_key': 'N_task: task network and post-processing, propagated features',
    'task_key': "N_task: the same, the frame's own features",
}
"""Parts that are timed (:func:`time_parts`) or counted (:mod:`semidff.points.complexity`)."""

Pipeline = Callable[[dict], dict]
"""Test pipeline for frames in memory, see :func:`~semidff.inference.loading.frame_pipeline`."""

Key = TypeVar('Key', bound=Hashable)
Result = TypeVar('Result')


@dataclass
class Lap:
    """Time of a block, in seconds."""

    seconds: float = 0.0


@contextmanager
def timed(device: torch.device) -> Iterator[Lap]:
    """Measure the time of a block, with the work that it queues on a device."""
    lap, queues = Lap(), device.type == 'cuda'  # other devices work synchronously
    if queues:
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    yield lap
    if queues:
        torch.cuda.synchronize(device)
    lap.seconds = time.perf_counter() - start


def take_turns(
    tasks: Mapping[Key, Callable[[], Result]],
    rounds: int,
    progress: Callable[[str], None] = lambda text: None,
    seconds: float = math.inf,
) -> dict[Key, list[Result]]:
    """Run each task once per round; return its results in the rounds after the warm-up.

    After ``seconds`` without the warm-up, no further round begins.
    """
    results: dict[Key, list[Result]] = {key: [] for key in tasks}
    start = math.inf
    for number in range(rounds + 1):
        if time.monotonic() - start > seconds:
            break
        if number == 1:
            start = time.monotonic()
        for key, task in tasks.items():
            result = task()
            if number:
                results[key].append(result)
        progress(f'round {number} of {rounds}' if number else 'warm-up')
    return results


class Laps(NamedTuple):
    """Mean seconds of a frame of one clip.

    Attributes:
        decode, prepare: Reading and the test pipeline, which go on in threads beside the networks.
        key, light: Detection on a key frame, and on a light frame; 0 without one.
        others: What else the stages do: filter, schedule.
        workers: Number of intervals that were processed at once.
        boxes: Number of detections.
        memory: Peak of the GPU's memory with this model alone, in MiB; None on CPUs.
    """

    decode: float
    prepare: float
    key: float
    light: float
    others: float
    workers: int = 1
    boxes: float = 0.0
    memory: float | None = None

    def network(self, keys: float, lights: float = 0.0) -> float:
        """Return the seconds of a frame, from normalization to boxes.

        Args:
            keys, lights: Shares of key frames and of light frames.
        """
        return (keys * self.key + lights * self.light + self.others) / self.workers

    def total(self, keys: float, lights: float = 0.0, filtering: float = 0.0) -> float:
        """Return the seconds of a frame of a file, from decoding to boxes.

        Reading goes on beside the networks; a CPU also decodes and resizes.
        """
        reads = self.decode + self.prepare if self.memory is None else 0.0
        work = self.network(keys, lights) + reads / self.workers + filtering
        return max(self.decode, self.prepare, work)


class Timer:
    """Runs a point on clips.

    Args:
        model: Detector, already on its device, or its executor.
        length: Key-frame interval of the clips; default: that of the point, and for *frame* ten
            frames.
        workers: Number of intervals that are processed at once; None: as many as
            :class:`~semidff.apis.VideoInferencer` does.
        filters: Whether the filter is part of the time.
    """

    def __init__(
        self,
        model: nn.Module | Executor,
        point: Point,
        pipeline: Pipeline,
        length: int | None = None,
        workers: int | None = None,
        filters: bool = True,
    ) -> None:
        executor, is_dense = as_executor(model), point.method == 'frame'
        self.length = length or (MOST_DENSE_FRAMES if is_dense else point.key_interval)
        schedule = FixedSchedule(1 if is_dense else self.length)
        executors = executors_at_once(executor, workers or default_workers())
        self._stages = [Stages(each, point, schedule, filters=filters) for each in executors]
        self._pipeline, self._model = pipeline, executor.model

    def run(self, images: Iterable[np.ndarray]) -> Laps:
        """Run the stages on the first l + 1 frames of a clip, or of an iterator that reads them."""
        reading, frames, prepare = [], [], self._stages[0].prepare
        start = time.perf_counter()
        for index, image in enumerate(islice(images, self.length + 1)):
            read = time.perf_counter()
            frames += prepare([Frame(image, index)], self._pipeline)
            reading.append([read - start, time.perf_counter() - read])
            start = time.perf_counter()
        device, memory = next(self._model.parameters()).device, None
        if on_gpu := device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
        copies = [
            [replace(frame, sample=frame.sample.clone()) for frame in frames] for _ in self._stages
        ]
        if len(self._stages) == 1:
            runs = [_run_stages(self._stages[0], copies[0])]
        else:
            with worker_threads(len(self._stages)) as pool:
                runs = list(pool.map(_run_stages, self._stages, copies))
        if on_gpu:
            weights = chain(self._model.parameters(), self._model.buffers())
            peak = torch.cuda.max_memory_allocated(device) - before
            memory = (peak + sum(tensor.nbytes for tensor in weights)) / 2**20
        means = np.mean(reading[1:], axis=0)
        key, light, others, boxes = np.mean(runs, axis=0)
        return Laps(*means, key, light, others, len(runs), boxes, memory)


def _run_stages(stages: Stages, frames: list[Frame]) -> tuple[float, float, float, float]:
    """Return the seconds of a key, of a light and otherwise of any frame, and a frame's boxes."""
    start = time.perf_counter()
    done = list(stages.run(frames))
    whole = time.perf_counter() - start
    keys, lights = ([f.seconds for f in done if f.kind == kind] for kind in (KEY, LIGHT))
    others = max(whole - sum(keys) - sum(lights), 0.0) / len(done)
    boxes = sum(len(frame.sample.get('pred_instances', ())) for frame in done) / len(done)
    return np.mean(keys[1:] or keys), np.mean(lights or 0.0), others, boxes


def clips_of(video: str | Clip, length: int) -> Iterator[Iterator[np.ndarray]]:
    """Iterate over consecutive clips of a video, which starts over at its end.

    Frames are decoded where they are read. What is not read of a clip is skipped at the next one.
    """
    source = Clip(video) if isinstance(video, str) else video
    frames = chain.from_iterable(source.images() for _ in repeat(None))
    while True:
        clip = islice(frames, length)
        yield clip
        for _ in clip:
            pass


def on_clips(function: Callable[[Any], Result], clips: Iterator) -> Callable[[], Result]:
    """Return a task that runs a function on the next clip."""
    return lambda: function(next(clips))


def speedup_of(ratio: float, key_interval: int) -> float:
    """Speed-up s of DFF Eq. 7 for a ratio r of costs (Eq. 5) and a key-frame interval l."""
    return key_interval / (1 + (key_interval - 1) * ratio)


@torch.no_grad()
def time_parts(
    model: VideoDetector, images: Iterable[np.ndarray], pipeline: Pipeline
) -> dict[str, list[float]]:
    """Time each part alone, on a key frame and on the non-key frames that follow it.

    Returns:
        Seconds by names of :data:`PARTS`.
    """
    device, temporal, spatial = next(model.parameters()).device, model.temporal, model.spatial
    seconds, key = defaultdict(list), None

    def run(name: str, function: Callable, *arguments: Any) -> Any:
        with timed(device) as lap:
            result = function(*arguments)
        seconds[name].append(lap.seconds)
        return result

    def flow_and_scale(inputs: Tensor, key: KeyFrame) -> tuple:
        return temporal.fields(key.image, temporal.prepare(inputs))

    for image in images:
        data = pseudo_collate([pipeline(dict(img=image))])
        data = run('to_device', model.data_preprocessor, data, False)
        inputs, samples = data['inputs'], data['data_samples']
        # Predictions are written into the samples.
        for_key, for_non_key = ([sample.clone() for sample in samples] for _ in range(2))
        with model.running():
            features = run('feature_network', spatial.features, inputs, samples)
            run('task_key', spatial.predict, features, for_key)
            if key is None:
                key = KeyFrame(temporal.prepare(inputs), features)
                continue
            fields = run('flow_and_scale', flow_and_scale, inputs, key)
            features = run('warp', temporal.propagate, key.features, *fields)
            settings = model.non_key_test_cfg
            run('task_non_key', spatial.predict, features, for_non_key, settings)
    return seconds


def batch_of(frame: np.ndarray) -> dict:
    """Make a collated test batch of a frame (H, W, 3) uint8 of the network's input size."""
    image = torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))
    return dict(inputs=[image], data_samples=plain_samples(1, frame.shape[:2]))
