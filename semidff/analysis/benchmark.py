"""Speed of a video detector from decoding to boxes, against the dense detector with the same options.

Protocol: batch 1. In each round every set of options takes a clip of l frames in every method, one after the other, and
its parts are timed alone on the same clip; so noise of the machine hits all of them alike, and a speed-up compares
clips that were timed together. Each method reads the video for itself, by a stream of its own: a frame is decoded, goes
through the config's test pipeline, to the device and through the engine, one step after the other (``VideoInferencer``
decodes ahead in the background, which is not measured here). At its end a video begins anew. The first round warms up,
compiles, and does not count.
"""

import copy
import resource
import time
from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np
import torch

from semidff.inference.acceleration import AcceleratedDetector, Acceleration, accelerate
from semidff.models.video_detector import VideoDetector

from .clip_timer import Clip, ClipTimer, endless_frames
from .part_times import PartClock
from .speed_report import MethodTimes, Run, SpeedReport


@torch.no_grad()
def benchmark(
    model: VideoDetector,
    video: str,
    pack: Callable[[np.ndarray], dict],
    methods: Sequence[str] = ('frame', 'propagate'),
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
        methods (Sequence[str]): Methods of :class:`~semidff.inference.VideoEngine`; ``frame``, what the others are
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
    methods = list(dict.fromkeys(['frame', *methods]))
    runners = [
        _Runner(accelerate(copy.deepcopy(model).eval(), one), video, pack, methods, key_interval)
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
    """All methods, and the parts, under one set of options."""

    def __init__(
        self,
        model: AcceleratedDetector,
        video: str,
        pack: Callable[[np.ndarray], dict],
        methods: Sequence[str],
        key_interval: int,
    ) -> None:
        self.model, self.pack, self.key_interval = model, pack, key_interval
        self.timers = {one: ClipTimer(model, one, key_interval, pack) for one in methods}
        self.videos = {one: endless_frames(video) for one in methods}
        self.clips: dict[str, list[Clip]] = {one: [] for one in methods}
        self.parts = PartClock(model)
        self.part_frames = endless_frames(video)

    def clip(self, counts: bool) -> None:
        """Run the next clip."""
        for method, timer in self.timers.items():
            clip = timer.run(islice(self.videos[method], self.key_interval))
            if counts:
                self.clips[method].append(clip)
        self.parts.begin()
        for frame in islice(self.part_frames, self.key_interval):
            self.parts.frame(self.pack(frame))
        if not counts:
            self.parts.seconds.clear()

    def result(self) -> Run:
        methods = {method: MethodTimes.of(clips) for method, clips in self.clips.items()}
        return Run(str(self.model.options), self.parts.medians(), methods)


def _process_memory() -> float:
    """Peak of this process's resident memory in MiB (Linux counts it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
