"""Speed of video detectors: the protocol of all measurements of this package.

What is measured is how files are processed: in chunks, and on a CPU several intervals at once. A *clip* is a key frame,
which is not counted, and the l frames after it, of which the last is the next key frame: so work at a key frame on the
frames before it is counted. Its frames are read and go through the test pipeline; then all *workers* run the clip at
the same time. Seconds are those of the detection (``Frame.seconds``); what else the stages do is shared by all frames.
What is compared takes turns: in each round all run one clip, one after the other and on the same frames, so that noise
of the machine affects all alike, and speed-ups compare times of the same round. The first round is warm-up, which
compiles, too, and is not counted.

The time at an interval l, which need not be an integer, is (t_key + n t_light) / l with n light frames.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from mmdet.structures import SampleList
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn

from semidff.datasets.video_readers import Frame
from semidff.filter import picture_of
from semidff.inference import FixedSchedule, Stages
from semidff.inference.executors import Executor, as_executor, executors_at_once
from semidff.inference.point import Point
from semidff.inference.schedule import KEY, LIGHT, KeyFrameSchedule
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
"""Parts that are timed (:class:`PartTimes`) or counted (``complexity``)."""

Key = TypeVar('Key', bound=Hashable)
Result = TypeVar('Result')


@dataclass
class Lap:
    """Time of a block, in seconds."""

    seconds: float = 0.0


@contextmanager
def timed(device: torch.device) -> Iterator[Lap]:
    """Measure the time of a block, with the work that it queues on ``device``; it is known when the block ends."""
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
    """Run each task once per round, one after the other; return its results in the rounds after the warm-up.

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
        decode, prepare: Reading and the test pipeline, which go on in two threads beside the networks.
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
        """Return the seconds of a frame at shares of key and light frames, from normalization to boxes."""
        return (keys * self.key + lights * self.light + self.others) / self.workers

    def total(self, keys: float, lights: float = 0.0, filtering: float = 0.0) -> float:
        """Return the seconds of a frame of a file, from decoding to boxes: reading goes on beside the networks.

        A CPU also decodes and resizes.
        """
        reads = self.decode + self.prepare if self.memory is None else 0.0
        work = self.network(keys, lights) + reads / self.workers + filtering
        return max(self.decode, self.prepare, work)


class Timer:
    """Runs a point on clips.

    Args:
        model: Detector, already on its device, or its executor.
        pack: Makes a collated test batch of a frame.
        length: Key-frame interval of the clips; default: that of the point, and for *frame* ten frames.
        schedule: Key-frame schedule, whose decisions are made on the frames after the key frame.
        workers: Number of intervals that are processed at once; None: as many as
            :class:`~semidff.apis.VideoInferencer` does.
    """

    def __init__(
        self,
        model: nn.Module | Executor,
        point: Point,
        pack: Callable[[Any], dict],
        length: int | None = None,
        schedule: KeyFrameSchedule | None = None,
        workers: int | None = None,
    ) -> None:
        executor = as_executor(model)
        self.length = length or (
            MOST_DENSE_FRAMES if point.method == 'frame' else point.key_interval
        )
        executors = executors_at_once(executor, workers or default_workers())
        interval = 1 if point.method == 'frame' else self.length
        self._stages = [
            Stages(one, point, schedule or FixedSchedule(interval)) for one in executors
        ]
        self._pack, self._model = pack, executor.model

    def run(self, frames: Iterable[Any]) -> Laps:
        """Run the stages on the first l + 1 frames of a clip, or those of an iterator, whose reading is timed, too."""
        reading, items, filters = [], [], self._stages[0].point.filter
        start = time.perf_counter()
        for image in islice(frames, self.length + 1):
            read = time.perf_counter()
            batch = self._pack(image)
            picture = picture_of(image) if filters else None
            reading.append([read - start, time.perf_counter() - read])
            items.append((batch['inputs'][0], batch['data_samples'][0], picture))
            start = time.perf_counter()
        device, memory = next(self._model.parameters()).device, None
        if on_gpu := device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
        copies = [
            [
                Frame(None, n, inputs=i, sample=s.clone(), picture=p)
                for n, (i, s, p) in enumerate(items)
            ]
            for _ in self._stages
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
        decode, prepare = np.mean(reading[1:], axis=0)
        key, light, others, boxes = np.mean(runs, axis=0)
        return Laps(decode, prepare, key, light, others, len(runs), boxes, memory)


def _run_stages(stages: Stages, frames: list[Frame]) -> tuple[float, float, float, float]:
    """Return the seconds of a key frame, of a light frame and of what else a frame takes, and the boxes of a frame."""
    start = time.perf_counter()
    done = list(stages.run(frames))
    whole = time.perf_counter() - start
    keys, lights = ([f.seconds for f in done if f.kind == kind] for kind in (KEY, LIGHT))
    others = max(whole - sum(keys) - sum(lights), 0.0) / len(done)
    boxes = sum(len(frame.sample.get('pred_instances', ())) for frame in done) / len(done)
    return np.mean(keys[1:] or keys), np.mean(lights or 0.0), others, boxes


def clips_of(video: str | Clip, length: int) -> Iterator[Iterator[np.ndarray]]:
    """Iterate over consecutive clips of a video, which starts over at its end, in frames (H, W, 3) uint8.

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


class PartTimes(NamedTuple):
    """Median times of the parts in milliseconds; :data:`PARTS` says what each one includes."""

    to_device: float
    feature_network: float
    flow_and_scale: float
    warp: float
    task_non_key: float
    task_key: float

    @classmethod
    def medians(cls, rounds: Sequence[Mapping[str, Sequence[float]]]) -> 'PartTimes':
        """Compute the medians over the frames of all rounds of :func:`time_parts`."""
        medians = (np.median([s for one in rounds for s in one[part]]) for part in cls._fields)
        return cls(*(1000 * float(median) for median in medians))

    @property
    def key(self) -> float:
        return self.feature_network + self.task_key

    @property
    def non_key(self) -> float:
        return self.flow_and_scale + self.warp + self.task_non_key

    @property
    def ratio(self) -> float:
        """r of DFF Eq. 5."""
        return self.non_key / self.key

    def bound(self, key_interval: int, overhead: float = 0.0, reading: float = 0.0) -> float:
        """Largest speed-up over frame-by-frame detection, DFF Eq. 7.

        If every frame also takes ``overhead`` milliseconds a outside the networks (decoding, for example), it is
        ``l (a + key) / (l a + key + (l - 1) non_key)``; a frame takes no less than ``reading`` milliseconds.
        """
        dense = overhead + self.key
        mean = dense / speedup_of((overhead + self.non_key) / dense, key_interval)
        return max(dense, reading) / max(mean, reading)


def speedup_of(ratio: float, key_interval: int) -> float:
    """Speed-up s of DFF Eq. 7 for a ratio r of costs (Eq. 5) and a key-frame interval l."""
    return key_interval / (1 + (key_interval - 1) * ratio)


@torch.no_grad()
def time_parts(model: VideoDetector, clip: Iterable[dict]) -> dict[str, list[float]]:
    """Time each part alone, one after the other, on a key frame and on the non-key frames that follow it.

    ``clip`` has collated test batches of one frame each, two or more. Seconds are by the fields of :class:`PartTimes`.
    """
    device, temporal, spatial = next(model.parameters()).device, model.temporal, model.spatial
    seconds = defaultdict(list)

    def run(name: str, function: Callable, *arguments: Any) -> Any:
        with timed(device) as lap:
            result = function(*arguments)
        seconds[name].append(lap.seconds)
        return result

    def flow_and_scale(inputs: Tensor) -> tuple:
        return temporal.fields(key.image, temporal.prepare(inputs))

    key = None
    for data in clip:
        data = run('to_device', model.data_preprocessor, data, False)
        inputs, samples = data['inputs'], data['data_samples']
        with model.running():
            features = run('feature_network', spatial.features, inputs, samples)
            run('task_key', spatial.predict, features, _fresh(samples))
            if key is None:
                key = KeyFrame(temporal.prepare(inputs), features)
            else:
                fields = run('flow_and_scale', flow_and_scale, inputs)
                features = run('warp', temporal.propagate, key.features, *fields)
                settings = model.non_key_test_cfg
                run('task_non_key', spatial.predict, features, _fresh(samples), settings)
    return seconds


def pack_with(pipeline: Callable[[dict], dict]) -> Callable[[np.ndarray], dict]:
    """Return a function that makes a collated test batch of a frame."""
    return lambda image: pseudo_collate([pipeline(dict(img=image))])


def batch_of(frame: np.ndarray) -> dict:
    """Make a collated test batch of a frame (H, W, 3) uint8 of the network's input size."""
    image = torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))
    return dict(inputs=[image], data_samples=plain_samples(1, frame.shape[:2]))


def _fresh(samples: SampleList) -> SampleList:
    """Copies of the data samples, since predictions are written into them."""
    return [sample.clone() for sample in samples]
