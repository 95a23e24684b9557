"""Times of key frames and of the frames between.

Protocol: batch 1, forward pass and post-processing; loading, preprocessing, copying to the device
and drawing are not included; the device is synchronized before each reading of the clock; the first
frames of either kind are left out as warm-up.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch


@dataclass
class Lap:
    """Time of a block, in seconds."""

    seconds: float = 0.0


class FrameTimer:
    """Collects the time of each frame.

    Args:
        warmup (int): How many first key frames, and how many first frames between, are not counted
            (but at least one of each kind that occurs is).
        key_interval (int | None): Key-frame duration l that the mean is for, where frames are not
            seen in the proportion of the schedule (:class:`~semidff.inference.PairEngine`).
    """

    def __init__(self, warmup: int = 3, key_interval: int | None = None) -> None:
        if warmup < 0:
            raise ValueError(f'warmup is {warmup}; it must be a number of frames, 0 or more')
        self.warmup = warmup
        self.key_interval = key_interval
        self.seconds: dict[str, list[float]] = {'key': [], 'non_key': []}
        self.lost: dict[int, float] = {}

    @contextmanager
    def measure(self, device: torch.device) -> Iterator[Lap]:
        """Times the block.

        Args:
            device (torch.device): Where the work runs.

        Yields:
            Lap: Its ``seconds`` are there when the block has ended.
        """
        lap = Lap()
        _synchronize(device)
        start = time.perf_counter()
        yield lap
        _synchronize(device)
        lap.seconds = time.perf_counter() - start

    def add(self, is_key: bool, seconds: float, lost: float | None = None) -> None:
        """Counts a frame.

        Args:
            is_key (bool): Whether it was a key frame.
            seconds (float): What it took.
            lost (float | None): Of a key frame that the schedule decided on after the flow network had run: what of
                the seconds that was.
        """
        if lost is not None:
            self.lost[len(self.seconds['key'])] = lost
        self.seconds['key' if is_key else 'non_key'].append(seconds)

    def summary(self) -> dict[str, float]:
        """Milliseconds per frame, and frames per second.

        ``mean_ms`` weights the two means with the numbers of key frames and of other frames that
        were really seen, warm-up included, so that it is the mean of the schedule; with
        ``key_interval`` it weights them 1 : l - 1.

        Returns:
            dict: ``time/{key,non_key}{,_p50,_p99}_ms`` for the kinds that occurred,
            ``time/mean_ms`` and ``fps``; empty if no frame was timed.
        """
        metrics, total, count = {}, 0.0, 0
        for kind, seconds in self.seconds.items():
            if not seconds:
                continue
            counted = 1000 * np.array(seconds[min(self.warmup, len(seconds) - 1) :])
            metrics[f'time/{kind}_ms'] = float(counted.mean())
            metrics[f'time/{kind}_p50_ms'] = float(np.percentile(counted, 50))
            metrics[f'time/{kind}_p99_ms'] = float(np.percentile(counted, 99))
            frames = len(seconds)
            if self.key_interval is not None:
                frames = 1 if kind == 'key' else self.key_interval - 1
            total += float(counted.mean()) * frames
            count += frames
        if count:
            metrics['time/mean_ms'] = total / count
            metrics['fps'] = 1000 * count / max(total, 1e-9)
        return metrics

    def schedule_summary(self) -> dict[str, float]:
        """What the schedule came to.

        Returns:
            dict: ``schedule/interval``, frames per key frame; ``schedule/key_share`` and ``schedule/rejected_share``
            of all frames, the latter's flow having been computed in vain; ``schedule/cost``, the mean time of a
            frame in units of a dense frame's, which is a key frame's without lost flow. Empty without key frames.
        """
        keys, frames = len(self.seconds['key']), sum(map(len, self.seconds.values()))
        if not keys:
            return {}
        counted = range(min(self.warmup, keys - 1), keys)
        dense = np.mean([self.seconds['key'][i] - self.lost.get(i, 0.0) for i in counted])
        return {
            'schedule/interval': frames / keys,
            'schedule/key_share': keys / frames,
            'schedule/rejected_share': len(self.lost) / frames,
            'schedule/cost': self.summary()['time/mean_ms'] / max(1000 * float(dense), 1e-9),
        }


def _synchronize(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
