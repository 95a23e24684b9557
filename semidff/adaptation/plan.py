"""The plan of an adaptation: everything that is chosen before the training, kept as ``plan.json``."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from semidff.utils.atomic_write import write_json
from semidff.utils.tables import text_table

LEAST_SPEEDUP = 1.3
SCALES = 1.0, 0.75, 0.5
DENSE_SCALES = 0.6, 0.35  # of the dense detector in addition


class PlanError(ValueError):
    """An adaptation that cannot be planned, or that another plan excludes."""


@dataclass
class Candidate:
    """Split point and flow network, with times of one frame in milliseconds that were measured on this machine.

    Attributes:
        split: Name of the split point.
        width: Width of FlowNetS.
        downsampling: Factor by which it downsamples frames.
        key: Key frame, networks and post-processing.
        non_key: Non-key frame.
        speedup: Forecast at the plan's key-frame interval, from decoding to boxes.
        fps: Frames per second at this interval, likewise.
        refused: Why this split point is impossible; the times are 0 then.
    """

    split: str
    width: float
    downsampling: int = 2
    key: float = 0.0
    non_key: float = 0.0
    speedup: float = 0.0
    fps: float = 0.0
    refused: str = ''

    @property
    def parts(self) -> tuple[str, float, int]:
        """Split point, and width and downsampling of FlowNetS."""
        return self.split, self.width, self.downsampling


@dataclass
class Plan:
    """All choices of an adaptation, which are made once.

    Attributes:
        detector: Config or name of the image detector.
        checkpoint: Its weights.
        digest: Hash of the weights.
        config_digest: Hash of the config.
        device: Type of the device on which times were measured.
        family: Family of heads and dense head.
        channels: Channels of each propagated level.
        strides: Stride of each propagated level.
        input_size: Height and width of the network's input for the first video.
        overhead: Milliseconds per frame outside the networks: decoding and the test pipeline.
        candidates: What was measured.
        split: The chosen split point.
        width: The chosen width of FlowNetS.
        downsampling: The chosen factor by which it downsamples frames.
        flow_stride: Stride of the feature flow.
        correction_width: Width of the temporal module's correction; 0 without one.
        semantic: Whether there is a semantic step; if not, ``reason`` says why.
        reason: Empty, or why only the regression loss can be used.
        key_interval: Key-frame interval of the forecasts.
        fps: Frames per second that were asked for, or None.
        interval: Smallest and largest interval of the training pairs.
        crop: Height and width of random crops, None for whole frames.
        batch_size: Pairs per iteration.
        feature_cache: Gigabytes of memory for kept features.
        kept_frames: Number of frames whose features it holds, in all sizes.
        cache_bytes: Limit of the decoded frames that a data worker keeps.
        disk: Gigabytes that the training needs.
        seconds: Seconds per iteration of each kind of step, of the first computation of a frame's features
            (``first``), and for reading a batch (``read``).
        portion: Share of each video that is trained on, from its start.
        held_back: Videos of the validation; of each the frames after ``portion``, all frames where it is 1.
        clips: Path, first frame and end of the clips of the validation.
        skipped: Videos that cannot be read.
        scales: Input sizes of the validation, relative to that of the config.
        frames: Number of frames that are trained on.
        seed: Seed of the training.
        minutes: Time of the whole adaptation.
        videos: Videos that are trained on.
        steps: Iterations of each step of the training, ``regression`` and ``semantic``.
    """

    detector: str
    checkpoint: str
    digest: str
    device: str
    config_digest: str = ''
    family: str = ''
    channels: list[int] = field(default_factory=list)
    strides: list[float] = field(default_factory=list)
    input_size: list[int] = field(default_factory=list)
    overhead: float = 0.0
    candidates: list[Candidate] = field(default_factory=list)
    split: str = ''
    width: float = 0.0
    downsampling: int = 2
    flow_stride: int = 16
    correction_width: int = 0
    semantic: bool = True
    reason: str = ''
    key_interval: int = 10
    fps: float | None = None
    interval: list[int] = field(default_factory=list)
    crop: list[int] | None = None
    batch_size: int = 4
    feature_cache: float = 0.0
    kept_frames: int = 0
    cache_bytes: int = 512 * 2**20
    disk: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    portion: float = 1.0
    held_back: list[str] = field(default_factory=list)
    clips: list[list] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    scales: list[float] = field(default_factory=lambda: [*SCALES, *DENSE_SCALES])
    frames: int = 0
    seed: int = 0
    minutes: float = 60.0
    videos: list[str] = field(default_factory=list)
    steps: dict[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> 'Plan':
        """Read a plan.

        Raises:
            PlanError: If the file is not a plan.
        """
        try:
            content = json.loads(path.read_text())
            candidates = [Candidate(**one) for one in content.pop('candidates')]
            return cls(**content, candidates=candidates)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise PlanError(f'{path}: is no plan of an adaptation ({error})') from error

    def save(self, path: Path) -> None:
        """Write the plan atomically."""
        write_json(asdict(self), path, indent=2)

    @property
    def chosen(self) -> Candidate:
        """The candidate that was chosen."""
        chosen = self.split, self.width, self.downsampling
        return next(one for one in self.candidates if one.parts == chosen)

    @property
    def named(self) -> set[str]:
        """Resolved paths of all videos that the plan was made for."""
        return set(map(os.path.realpath, (*self.videos, *self.held_back, *self.skipped)))

    def text(self) -> str:
        """Describe the plan for a user."""
        levels = ', '.join(
            f'{c} channels at stride {s:g}'
            for c, s in zip(self.channels, self.strides, strict=True)
        )
        rows = [('split point', 'flow network', 'key, ms', 'non-key, ms', 'speed-up', 'fps', '')]
        for one in self.candidates:
            times = [f'{time:.1f}' for time in (one.key, one.non_key, one.speedup, one.fps)]
            note = '*' * (one is self.chosen)
            if one.refused:
                times, note = ['-'] * len(times), 'not possible'
            network = f'FlowNetS {one.width:g}, frames / {one.downsampling}'
            rows.append((one.split, network, *times, note))
        chosen, notes = self.chosen, []
        alone = 1000 / (self.overhead + chosen.key)
        if self.fps and chosen.fps < self.fps:
            notes.append(
                f'None of them reaches {self.fps:g} frames per second; smaller inputs are measured after the training'
            )
        if sum(self.time_of(*step) for step in self.steps.items()) > 60 * self.minutes:
            notes.append(f'The least training, which takes longer than {self.minutes:g} minutes')
        part = 'whole videos' if self.portion == 1 else f'the last {1 - self.portion:.0%} of each'
        memory = f'{self.feature_cache:.2f} GB of memory' if self.feature_cache else 'none'
        size = 'x'.join(map(str, self.crop or self.input_size))
        lines = [
            f'Detector: {self.family}; propagated: {levels}',
            f'Forecasts at l = {self.key_interval}, input {self.input_size[0]}x{self.input_size[1]}, from decoding '
            f'to boxes, on this machine ({self.device}); the detector alone: {alone:.1f} fps',
            text_table(rows),
            *notes,
            'Distilled: features' + (', then the outputs of the heads' if self.semantic else ''),
            *([f'Only the regression loss is possible: {self.reason}'] if self.reason else []),
            f'Training: batches of {self.batch_size} pairs of {size}, intervals {self.interval[0]} to '
            f'{self.interval[1]}; kept features: {memory}; disk: {self.disk:.2f} GB',
            *(
                f'  {name}: {iters} iterations, about {self.time_of(name, iters) / 60:.0f} minutes'
                for name, iters in self.steps.items()
            ),
            f'Videos: {len(self.videos)} for training, {len(self.held_back)} for validation ({part}), '
            f'{len(self.skipped)} skipped',
            'Input sizes of the validation: × ' + ', '.join(f'{scale:g}' for scale in self.scales),
        ]
        return '\n'.join(lines)

    @property
    def sizes(self) -> int:
        """Number of sizes of each frame whose features are kept."""
        return 2 if self.crop else 1

    @property
    def first(self) -> float:
        """Seconds per iteration for features that are not kept yet."""
        return 2 * self.batch_size * self.seconds['first']

    def time_of(self, name: str, iters: float) -> float:
        """Return the expected seconds of a step, without the first computation of features that are kept."""
        again = (1 - self.kept_frames / self.frames) * self.first
        return iters * (self.seconds[name] + self.seconds['read'] + again)
