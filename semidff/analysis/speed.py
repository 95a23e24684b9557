"""Speed of video detectors: the protocol of all measurements of this package.

What is measured is how files are processed: in chunks, and on a CPU several intervals at once. A *clip* is a key frame,
which is not counted, and the l frames after it, of which the last is the next key frame: so work at a key frame on the
frames before it is counted.
Its frames are read and go through the test pipeline; then all *workers* run the clip at the same time. What is compared
takes turns: in each round all run one clip, one after the other and on the same frames, so that noise of the machine
affects all alike, and speed-ups compare times of the same round. The first round is warm-up, which compiles, too, and
is not counted.

A schedule whose key frames depend on the video does its work on every frame of a clip, whose key frames are l frames
apart. The time at its average interval l, which need not be an integer, is (t_key + (l - 1) t_non_key) / l.
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
from semidff.inference.executors import Executor, as_executor, executors_at_once
from semidff.inference.methods import method_class
from semidff.inference.schedules import KeyFrameSchedule
from semidff.inference.video_engine import VideoEngine
from semidff.models.key_frame import KeyFrame
from semidff.models.spatial import plain_samples
from semidff.models.video_detector import VideoDetector
from semidff.utils.threads import default_workers, worker_threads

from .evaluation_clips import EvaluationClip

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


class ClipTimes(NamedTuple):
    """Measurements of one clip.

    Attributes:
        seconds: (l, 3), the key frame first, for each frame: reading it; test pipeline; normalization, networks and
            post-processing.
        memory: Peak of the GPU's memory with this model alone, in MiB; None on CPUs.
        workers: Number of intervals that were processed at once.
        key_interval: Average key-frame interval that means are for; None: the number of frames.
    """

    seconds: np.ndarray
    detections: int
    memory: float | None
    workers: int = 1
    key_interval: float | None = None

    @property
    def network(self) -> float:
        """Mean seconds per frame, from normalization to boxes."""
        return self._mean(self.seconds[:, -1]) / self.workers

    @property
    def work(self) -> np.ndarray:
        """Seconds per frame of the device, (l,); a CPU also decodes and resizes."""
        first = 0 if self.memory is None else 2
        return self.seconds[:, first:].sum(axis=1) / self.workers

    @property
    def reading(self) -> float:
        """Mean seconds of a frame in the slower one of the two threads that read ahead."""
        return float(self.seconds[:, :2].mean(axis=0).max())

    @property
    def total(self) -> float:
        """Mean seconds per frame of a file, from reading to boxes: reading goes on beside the networks."""
        return max(self.reading, self._mean(self.work))

    def _mean(self, seconds: np.ndarray) -> float:
        weights = np.ones(len(seconds))
        weights[1:] = ((self.key_interval or len(seconds)) - 1) / max(len(seconds) - 1, 1)
        return float(np.average(seconds, weights=weights))


class ClipTimer:
    """Runs one method on clips.

    Args:
        model: Detector, already on its device, or its executor.
        key_interval: Average key-frame interval l. A clip has as many frames that are counted, rounded.
        pack: Makes a collated test batch of a frame.
        schedule: Key-frame schedule, whose decisions are made but ignored.
        workers: Number of intervals that are processed at once; None: as many as
            :class:`~semidff.apis.VideoInferencer` does.
        filter, light_every: Those of the engine.
    """

    def __init__(
        self,
        model: nn.Module | Executor,
        method: str,
        key_interval: float,
        pack: Callable[[Any], dict],
        schedule: KeyFrameSchedule | None = None,
        workers: int | None = None,
        filter: str | None = None,
        light_every: int = 1,
    ) -> None:
        self._length = max(round(key_interval), min(math.ceil(key_interval), 2))
        if schedule is not None:
            schedule = _Regular(schedule, self._length)
        executor = as_executor(model)
        model = executor.model
        executors = executors_at_once(executor, workers or default_workers())
        self.workers = len(executors)
        options = dict(schedule=schedule, filter=filter, light_every=light_every)
        self._engines = [VideoEngine(one, method, self._length, **options) for one in executors]
        self._key_interval, self._pack = key_interval, pack
        # Of these, the work for non-key frames is done in chunks, or at the next key frame.
        self._filters = self._engines[0].point.filter is not None
        self._waits = self._filters or (method == 'small' or method_class(method).propagates)
        self._device = next(model.parameters()).device
        self._own = sum(t.nbytes for t in (*model.parameters(), *model.buffers()))

    def run(self, frames: Iterable[Any]) -> ClipTimes:
        """Run the engine on the first l + 1 frames of a clip, or those of an iterator, whose reading is timed, too.

        With methods that detect on non-key frames, in chunks, and with a filter, what the last frame takes more than
        the first one is spread evenly over the l - 1 non-key frames.
        """
        reading, batches = [], []
        start = time.perf_counter()
        for frame in islice(frames, self._length + 1):
            read = time.perf_counter()
            batch = self._pack(frame)
            if self._filters:
                batch['picture'] = [picture_of(frame)]
            reading.append([read - start, time.perf_counter() - read])
            samples = batch['data_samples']
            batches.append([dict(batch, data_samples=_fresh(samples)) for _ in self._engines])
            start = time.perf_counter()
        memory, on_gpu = None, self._device.type == 'cuda'
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(self._device)
            before = torch.cuda.memory_allocated(self._device)
        pairs = self._engines, zip(*batches, strict=True)
        if self.workers == 1:
            runs = list(map(self._detect, *pairs))
        else:
            with worker_threads(self.workers) as pool:
                runs = list(pool.map(self._detect, *pairs))
        if on_gpu:
            peak = torch.cuda.max_memory_allocated(self._device)
            memory = (peak - before + self._own) / 2**20
        seconds = np.mean([seconds for seconds, _ in runs], axis=0)
        seconds = np.column_stack([np.roll(reading[1:], 1, axis=0), seconds])
        return ClipTimes(seconds, runs[0][1], memory, self.workers, self._key_interval)

    def _detect(self, engine: VideoEngine, batches: Iterable[dict]) -> tuple[np.ndarray, int]:
        """Return the seconds (l,) of a clip, the key frame first, and its number of detections."""
        stamps = []

        def stamp() -> None:
            if self._device.type == 'cuda':
                torch.cuda.synchronize(self._device)
            stamps.append(time.perf_counter())

        def stamped() -> Iterator[dict]:
            for data in batches:
                stamp()
                yield data

        results = list(engine.run(stamped()))
        stamp()
        first, *counted = np.diff(stamps)
        counted = np.roll(counted, 1)
        if self._waits and len(counted) > 1:
            key = min(first, counted[0])
            counted[1:] += (counted[0] - key) / (len(counted) - 1)
            counted[0] = key
        boxes = (result.get('pred_instances') for result in results[1:])
        return counted, sum(len(found) for found in boxes if found is not None)


class _Regular(KeyFrameSchedule):
    """Does the work of another schedule, but places key frames at a fixed interval."""

    def __init__(self, schedule: KeyFrameSchedule, interval: int) -> None:
        self.schedule, self.longest = schedule, interval
        self.observes = schedule.observes

    def observe(self, frame: Frame) -> None:
        self.schedule.observe(frame)

    def note_key(self, frame: Frame) -> None:
        self.schedule.note_key(frame)

    def is_cut(self, frame: Frame) -> bool:
        self.schedule.is_cut(frame)
        return False

    def is_key(self, frame: Frame, distance: int) -> bool:
        self.schedule.is_key(frame, distance)
        return distance >= self.longest


def clips_of(video: str | EvaluationClip, length: int) -> Iterator[Iterator[np.ndarray]]:
    """Iterate over consecutive clips of a video, which starts over at its end, in frames (H, W, 3) uint8.

    Frames are decoded where they are read. What is not read of a clip is skipped at the next one.
    """
    source = EvaluationClip(video) if isinstance(video, str) else video
    frames = chain.from_iterable(source.images() for _ in repeat(None))
    while True:
        clip = islice(frames, length)
        yield clip
        for _ in clip:
            pass


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
