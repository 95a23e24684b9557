"""Clips through the video engine, with the time of each step of every frame."""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from semidff.inference.engine import VideoEngine
from semidff.inference.schedules import KeyFrameSchedule
from semidff.inference.timer import FrameTimer, synchronize

from .evaluation_clips import EvaluationClip


class Clip(NamedTuple):
    """Measurements of one clip.

    Attributes:
        seconds: (frames, 4), for each frame: reading it; making a batch of it; copy to the device, normalization and
            padding; networks and post-processing.
        detections: Number of detections in these frames.
        memory: Peak of the GPU's memory with this model alone, in MiB; None on CPUs.
    """

    seconds: np.ndarray
    detections: int
    memory: float | None

    @property
    def network(self) -> float:
        """Seconds of networks and post-processing for the whole clip."""
        return float(self.seconds[:, -1].sum())


class ClipTimer:
    """Runs one method on clips, each from its first frame, a key frame.

    Args:
        model: Detector, already on its device.
        method: Method of :class:`~semidff.inference.VideoEngine`.
        key_interval: Key-frame interval l.
        pack: Makes a collated test batch of a frame.
        schedule: Key-frame schedule in place of the interval.
        smooth_scores: As of the engine.
    """

    def __init__(
        self,
        model: nn.Module,
        method: str,
        key_interval: int,
        pack: Callable[[Any], dict],
        schedule: KeyFrameSchedule | None = None,
        smooth_scores: int = 0,
    ) -> None:
        self._timer = _Total()
        self._engine = VideoEngine(
            model, method, key_interval, schedule, self._timer, smooth_scores=smooth_scores
        )
        self._key_interval = key_interval
        # Non-key frames are propagated at the next key frame.
        self._waits = self._engine.method.offline and self._engine.method.uses_temporal
        self._pack = pack
        self._device = next(model.parameters()).device
        self._own = sum(t.nbytes for t in (*model.parameters(), *model.buffers()))

    def run_interval(self, frames: Iterable[Any]) -> Clip:
        """Run the engine on one whole key-frame interval.

        This is a key frame, which is not counted, and the l frames after it, of which the last is the next key frame:
        so work at a key frame on the frames before it is counted. With offline methods that propagate features, what
        the last frame takes more than the first one is spread evenly over the l - 1 non-key frames.

        Args:
            frames: At least l + 1 frames; l + 1 of an iterator are read. Reading them is part of what is timed.

        Returns:
            Measurements of l frames, those of the key frame first.
        """
        self._engine.reset()  # first, since it frees the key frame of the clip before
        memory, on_gpu = None, self._device.type == 'cuda'
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(self._device)
            before = torch.cuda.memory_allocated(self._device)
        results, seconds = [], []
        start = time.perf_counter()
        for frame in islice(frames, self._key_interval + 1):
            read = time.perf_counter()
            data = self._pack(frame)
            packed = time.perf_counter()
            self._timer.total = 0.0
            results += self._engine.push(data)
            synchronize(self._device)
            end, network = time.perf_counter(), self._timer.total
            seconds.append([read - start, packed - read, end - packed - network, network])
            start = end
        results += self._engine.flush()
        synchronize(self._device)
        flush = time.perf_counter() - start
        first, *counted = np.array(seconds)
        counted = np.roll(counted, 1, axis=0)
        counted[:, -1] += flush / len(counted)  # averaged scores
        if self._waits and len(counted) > 1:
            key = min(first[-1], counted[0, -1])
            counted[1:, -1] += (counted[0, -1] - key) / (len(counted) - 1)
            counted[0, -1] = key
        if on_gpu:
            peak = torch.cuda.max_memory_allocated(self._device)
            memory = (peak - before + self._own) / 2**20
        boxes = (result.get('pred_instances') for result in results[1:])
        detections = sum(len(found) for found in boxes if found is not None)
        return Clip(counted, detections, memory)


class _Total(FrameTimer):
    """Sum of the times of the engine's model calls."""

    total = 0.0

    def add(self, is_key: bool, seconds: float, lost: float | None = None) -> None:
        self.total += seconds


def endless_frames(video: str | EvaluationClip) -> Iterator[np.ndarray]:
    """Iterate over the frames, (H, W, 3) uint8, of a video or a clip, and start over at the end.

    Raises:
        VideoError: If the video cannot be read.
    """
    clip = EvaluationClip(video) if isinstance(video, str) else video
    while True:
        yield from clip.images()
