"""What all steps of an adaptation share."""

import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from mmengine.config import Config

from semidff.inference.executors import Executor
from semidff.inference.loading import load_model
from semidff.inference.point import Point
from semidff.utils.configs import read_config

from .config import untrained_config
from .folder import TRAINING


@dataclass(eq=False)  # so that it has a hash
class Job:
    """An adaptation in its folder.

    Attributes:
        own: Config of the detector, see :func:`~semidff.adaptation.config.detector_config`.
        name: Of the detector, in messages.
        minutes: Time of the whole adaptation.
        fps: Frames per second to reach.
        runtime: What computes the frames.
        labels: COCO-VID json, by which points are judged in place of held-back frames.
    """

    folder: Path
    own: Config
    name: str
    device: str
    minutes: float
    fps: float | None = None
    labels: str | None = None
    runtime: str = 'torch'
    start: float = field(default_factory=time.monotonic)

    def log(self, text: str) -> None:
        """Print what is done, after how much of the time."""
        passed = (time.monotonic() - self.start) / 60
        print(f'adapt, minute {passed:.1f} of {self.minutes:g}: {text}', flush=True)

    def seconds_left(self) -> float:
        """Return the seconds that are left of the time."""
        return 60 * self.minutes - (time.monotonic() - self.start)

    def load(self, point: Point) -> Executor:
        """Return the executor of a point; models stay loaded."""
        return self._load(point.uses_temporal, point.runtime)

    @cache  # noqa: B019 (a job lives as long as the process)
    def _load(self, is_trained: bool, runtime: str) -> Executor:
        config, weights, method = untrained_config(self.own), 'detector.pth', 'frame'
        if is_trained:
            config, weights = read_config(self.folder / TRAINING), 'last.pth'
            method = 'propagate'
        weights, point = str(self.folder / weights), Point(method, runtime=runtime)
        return load_model(config, weights, self.device, point)
