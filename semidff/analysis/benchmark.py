"""Speed of a video detector from decoding to boxes, against the dense detector with the same options.

Protocol: batch 1. In each round every set of options takes a clip of l frames in every mode, one after the other, and
its parts are timed alone on the same clip; so noise of the machine hits all of them alike, and a speed-up compares
clips that were timed together. Each mode reads the video for itself, by a stream of its own: a frame is decoded, goes
through the config's test pipeline, to the device and through the engine, one step after the other (``VideoInferencer``
decodes ahead in the background, which is not measured here). At its end a video begins anew. The first round warms up,
compiles, and does not count.
"""

import copy
import resource
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from semidff.datasets.video_readers import open_stream
from semidff.inference.acceleration import AcceleratedDetector, Acceleration, accelerate
from semidff.inference.engine import VideoEngine
from semidff.inference.timer import FrameTimer
from semidff.models.video_detector import VideoDetector

from .part_times import PartClock, synchronize
from .speed_report import Run, SpeedReport, Walk

MIB = 2**20


@torch.no_grad()
def benchmark(
    model: VideoDetector,
    video: str,
    pack: Callable[[np.ndarray], dict],
    modes: Sequence[str] = ('frame', 'propagate'),
    options: Sequence[Acceleration] = (Acceleration(),),
    key_interval: int = 10,
    repeats: int = 3,
    progress: Callable[[str], None] = lambda text: None,
) -> SpeedReport:
    """Times a video detector, see the module's text.

    Args:
        model (VideoDetector): With a temporal module, in its place on the device; it is not changed.
        video (str): A video file or a folder of frames.
        pack (Callable): Makes a collated test batch of a frame (H, W, 3) uint8.
        modes (Sequence[str]): Methods of :class:`~semidff.inference.VideoEngine`; ``frame``, what the others are
            compared with, is always among them.
        options (Sequence[Acceleration]): Sets of speed options.
        key_interval (int): Key-frame duration l, at least 2.
        repeats (int): Rounds that count.
        progress (Callable): Is told what goes on.

    Returns:
        SpeedReport: The times.

    Raises:
        ValueError: If the model has no temporal module, or the settings make no sense.
        VideoError: If the video cannot be read.
    """
    if not model.has_temporal:
        raise ValueError('the model has no temporal module: give a stage-two config')
    if key_interval < 2 or repeats < 1:
        raise ValueError(
            f'needs key_interval >= 2 and repeats >= 1, got {key_interval=}, {repeats=}'
        )
    modes = list(dict.fromkeys(['frame', *modes]))
    runners = [
        _Runner(accelerate(copy.deepcopy(model).eval(), one), video, pack, modes, key_interval)
        for one in dict.fromkeys(options)
    ]
    for clip in range(repeats + 1):
        for runner in runners:
            start = time.perf_counter()
            runner.clip(counts=clip > 0)
            name = f'clip {clip} of {repeats}' if clip else 'warm-up'
            seconds = time.perf_counter() - start
            progress(f'{name}, {runner.model.options}: took {seconds:.1f} s')
    return SpeedReport(key_interval, [runner.result() for runner in runners], _process_memory())


class _Runner:
    """One set of options: all modes, and the parts."""

    def __init__(
        self,
        model: AcceleratedDetector,
        video: str,
        pack: Callable[[np.ndarray], dict],
        modes: Sequence[str],
        key_interval: int,
    ) -> None:
        self.model, self.pack, self.key_interval = model, pack, key_interval
        self.walkers = {
            mode: _Walker(model, mode, _endless(video), pack, key_interval) for mode in modes
        }
        self.parts = PartClock(model)
        self.frames = _endless(video)

    def clip(self, counts: bool) -> None:
        """Takes the next clip."""
        for walker in self.walkers.values():
            walker.clip(counts)
        self.parts.begin()
        for _ in range(self.key_interval):
            self.parts.frame(self.pack(next(self.frames)))
        if not counts:
            self.parts.seconds.clear()

    def result(self) -> Run:
        """What was measured."""
        walks = {mode: walker.result() for mode, walker in self.walkers.items()}
        return Run(str(self.model.options), self.parts.medians(), walks)


class _Walker:
    """One mode of one set of options."""

    def __init__(
        self,
        model: AcceleratedDetector,
        mode: str,
        frames: Iterator[np.ndarray],
        pack: Callable[[np.ndarray], dict],
        key_interval: int,
    ) -> None:
        self.timer = _Total()
        self.engine = VideoEngine(model, mode, key_interval, timer=self.timer)
        self.frames, self.pack, self.key_interval = frames, pack, key_interval
        self.device = next(model.parameters()).device
        self.own = sum(t.nbytes for t in (*model.parameters(), *model.buffers()))
        self.times: list[list[tuple[float, ...]]] = []
        self.detections, self.memory = 0, 0.0

    def clip(self, counts: bool) -> None:
        """Takes the next clip."""
        before = _begin_memory(self.device)
        self.engine.reset()
        results, times = [], []
        for _ in range(self.key_interval):
            found, *laps = self._frame()
            results += found
            times.append(laps)
        start = time.perf_counter()
        results += self.engine.flush()
        synchronize(self.device)
        times[-1][-1] += time.perf_counter() - start
        if counts:
            self.times.append(times)
            self.detections += sum(len(result.pred_instances) for result in results)
            self.memory = max(self.memory, _peak_memory(self.device) - before + self.own)

    def _frame(self) -> tuple:
        """The results that are finished with the next frame, and seconds as of :class:`Walk`."""
        start = time.perf_counter()
        image = next(self.frames)
        decoded = time.perf_counter()
        data = self.pack(image)
        packed = time.perf_counter()
        self.timer.total = 0.0
        results = self.engine.push(data)
        synchronize(self.device)
        network = self.timer.total
        around = time.perf_counter() - packed - network
        return results, decoded - start, packed - decoded, around, network

    def result(self) -> Walk:
        """What was measured."""
        times = 1000 * np.array(self.times)
        memory = self.memory / MIB if self.device.type == 'cuda' else None
        return Walk(*np.moveaxis(times, 2, 0), self.detections / times[..., 0].size, memory)


class _Total(FrameTimer):
    """Adds up what the engine's model calls take."""

    total = 0.0

    def add(self, is_key: bool, seconds: float, lost: float | None = None) -> None:
        self.total += seconds


def _endless(video: str) -> Iterator[np.ndarray]:
    """Frames of a video, again and again."""
    while True:
        stream = open_stream(video)
        try:
            for frame in stream:
                yield frame.image
        finally:
            stream.close()


def _begin_memory(device: torch.device) -> int:
    """Bytes of a GPU that are taken now; its peak is counted from here."""
    if device.type != 'cuda':
        return 0
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def _peak_memory(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == 'cuda' else 0


def _process_memory() -> float:
    """Peak of this process's resident memory in MiB (Linux counts it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
