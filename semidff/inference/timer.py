"""Times of key frames and of non-key frames.

Protocol: batch 1, forward pass and post-processing, without loading, preprocessing, copying to the device and drawing.
The device is synchronized before each reading of the clock. The first frames of either kind are warm-up.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has finished the work queued on it; other devices work synchronously."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


@dataclass
class Lap:
    """Time of a block, in seconds."""

    seconds: float = 0.0


@contextmanager
def timed(device: torch.device) -> Iterator[Lap]:
    """Measure the time of a block, with the work that it queues on ``device``; it is known when the block ends."""
    lap = Lap()
    synchronize(device)
    start = time.perf_counter()
    yield lap
    synchronize(device)
    lap.seconds = time.perf_counter() - start


class FrameTimer:
    """Collects the time of each frame.

    Args:
        warmup: Number of first key frames, and of first non-key frames, that are not counted. At least one frame of
            each kind that occurs is counted.
        key_interval: Key-frame interval l that the mean is for, where key and non-key frames do not occur in the
            proportion of a schedule (:class:`~semidff.inference.PairEngine`).
    """

    def __init__(self, warmup: int = 3, key_interval: int | None = None) -> None:
        self.warmup, self.key_interval = warmup, key_interval
        self.seconds: dict[str, list[float]] = {'key': [], 'non_key': []}
        self.deferred: float | None = None

    def add(self, is_key: bool, seconds: float) -> None:
        """Count a frame."""
        self.seconds['key' if is_key else 'non_key'].append(seconds)

    def add_deferred(self, seconds: float) -> None:
        """Count the time after a video's last frame, of an offline method or a chunked stream.

        Frames are processed later than they come, so that times of key frames and of non-key frames mean nothing.
        """
        self.deferred = (self.deferred or 0.0) + seconds

    def summary(self) -> dict[str, float]:
        """Return milliseconds per frame, frames per second, and what the schedule came to; nothing without frames.

        ``time/mean_ms`` weights the means of key frames and non-key frames by their numbers, warm-up included, so
        that it is the mean of the schedule; with ``key_interval`` the weights are 1 : l - 1.

        Returns:
            ``time/mean_ms`` and ``fps``; without ``key_interval`` ``schedule/interval``, frames per key frame, and
            ``schedule/key_share``; unless time was deferred, ``time/{key,non_key}_ms`` of the kinds that occurred and
            ``schedule/cost``, the mean time of a frame relative to a key frame's.
        """
        metrics, total, count = {}, 1000 * (self.deferred or 0.0), 0
        for kind, seconds in self.seconds.items():
            if not seconds:
                continue
            counted = 1000 * np.array(seconds[min(self.warmup, len(seconds) - 1) :])
            if self.deferred is None:
                metrics[f'time/{kind}_ms'] = float(counted.mean())
            frames = len(seconds)
            if self.key_interval is not None:
                frames = 1 if kind == 'key' else self.key_interval - 1
            total += float(counted.mean()) * frames
            count += frames
        if not count:
            return {}
        metrics |= {'time/mean_ms': total / count, 'fps': 1000 * count / max(total, 1e-9)}
        if self.key_interval is None and (keys := len(self.seconds['key'])):
            metrics |= {'schedule/interval': count / keys, 'schedule/key_share': keys / count}
            if self.deferred is None:
                relative = metrics['time/mean_ms'] / max(metrics['time/key_ms'], 1e-9)
                metrics['schedule/cost'] = relative
        return metrics
