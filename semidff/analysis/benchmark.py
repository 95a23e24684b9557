"""Speed of a video detector from decoding to boxes, relative to the dense detector with the same options.

Protocol: batch 1. In each round every set of options runs one clip with every method, one after the other, and its
parts are timed alone on the same clip. So noise of the machine affects all of them alike, and a speed-up compares clips
that were timed together. A clip is a key frame, which is not counted, and the l frames after it, of which the last is
the next key frame. Each method reads the video by a stream of its own, which starts over at its end. A frame is
decoded, goes through the config's test pipeline, to the device and through the engine, one step after the other
(``VideoInferencer`` decodes ahead in the background, which is not measured here). The first round is warm-up, compiles,
and is not counted.
"""

import copy
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np
import torch

from semidff.inference.acceleration import Acceleration, accelerate
from semidff.models.video_detector import VideoDetector

from .clip_timer import Clip, ClipTimer, endless_frames
from .part_times import PartTimes, time_parts
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
    """Measure the speed of a video detector by the protocol of this module.

    Args:
        model: With a temporal module, on its device; it is not changed.
        video: A video file or a folder of frames.
        pack: Makes a collated test batch of a frame (H, W, 3) uint8.
        methods: Methods of :class:`~semidff.inference.VideoEngine`; ``frame``, the reference, is always added.
        options: Sets of speed options.
        key_interval: Key-frame interval l, at least 2.
        repeats: Rounds that are counted.

    Raises:
        ValueError: If the model has no temporal module, or a number is too small.
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
            progress(f'{name}, {runner.model.options}: {seconds:.1f} s')
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts in KiB
    return SpeedReport(key_interval, [runner.result() for runner in runners], memory)


class _Runner:
    """All methods, and the parts, under one set of options."""

    def __init__(
        self,
        model: VideoDetector,
        video: str,
        pack: Callable[[np.ndarray], dict],
        methods: Sequence[str],
        key_interval: int,
    ) -> None:
        self.model, self.pack, self.key_interval = model, pack, key_interval
        self.timers = {one: ClipTimer(model, one, key_interval, pack) for one in methods}
        self.videos = {one: endless_frames(video) for one in (*methods, 'parts')}
        self.clips: dict[str, list[Clip]] = {one: [] for one in methods}
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def clip(self, counts: bool) -> None:
        for method, timer in self.timers.items():
            clip = timer.run_interval(self.videos[method])
            if counts:
                self.clips[method].append(clip)
        batches = map(self.pack, islice(self.videos['parts'], self.key_interval + 1))
        time_parts(self.model, batches, self.seconds if counts else defaultdict(list))

    def result(self) -> Run:
        methods = {method: MethodTimes.of(clips) for method, clips in self.clips.items()}
        return Run(str(self.model.options), PartTimes.medians(self.seconds), methods)
