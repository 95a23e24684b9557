"""The plan of an adaptation: everything that is chosen before the training, kept as ``plan.json``."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from semidff.analysis.evaluation_clips import EvaluationClip
from semidff.utils.atomic_write import read_json, write_json
from semidff.utils.tables import text_table

LEAST_SPEEDUP = 1.3
LEAST = dict(regression=200, semantic=300)
"""Iterations, below which no training is worth its name."""
SCALES = 1.0, 0.75, 0.5
DENSE_SCALES = (0.35,)  # of the dense detector in addition
LIGHT_EVERY = 1, 2, 5
SHORT = 30  # minutes, below which the result is measured at the config's input size alone


class PlanError(ValueError):
    """An adaptation that cannot be planned, or that another plan excludes."""


@dataclass(frozen=True)
class Candidate:
    """Split point and temporal module, with milliseconds per frame that were measured on this machine.

    They include decoding and resizing on a CPU; on a GPU these go on at the same time. Those of impossible candidates,
    and of what follows the first one that is fast enough, are 0.
    """

    split: str
    width: float  # of FlowNetS
    downsampling: int = 2  # of the frames that it sees
    flow_stride: int = 16
    correction_width: int = 0  # of the temporal module; 0 without a correction
    current_width: int = 0  # of its network on the current frame
    key: float = 0.0
    non_key: float = 0.0
    speedup: float = 0.0  # forecast at the plan's key-frame interval, from decoding to boxes
    fps: float = 0.0  # likewise
    refused: str = ''  # why this split point is impossible

    @property
    def choice(self) -> tuple[str, float, int]:
        """Split point, and width and downsampling of FlowNetS."""
        return self.split, self.width, self.downsampling


@dataclass(frozen=True)
class Videos:
    """Paths of the videos, and what the validation runs on."""

    videos: list[str]  # that are trained on
    held_back: list[str]  # whose rest validates
    skipped: list[str]  # that cannot be read
    portion: float  # of each video that is trained on, from its start; 1: whole videos
    clips: list[EvaluationClip]  # of what is held back
    scales: list[float]  # input sizes, relative to that of the detector


@dataclass(frozen=True)
class Networks:
    """The candidate that was chosen, what it propagates, and what was measured."""

    split: str
    width: float
    downsampling: int
    flow_stride: int
    correction_width: int
    current_width: int
    family: str  # of heads, and dense head
    channels: list[int]  # of each propagated level
    strides: list[float]
    semantic: bool  # whether there is a semantic step
    reason: str  # why not
    candidates: list[Candidate]
    key_interval: int  # of the forecasts
    input_size: list[int]  # height and width, for the first video
    reading: float  # milliseconds of a frame: decoding or the test pipeline, the longer
    workers: int  # intervals that are processed at once

    @property
    def chosen(self) -> Candidate:
        """The candidate that was chosen."""
        chosen = self.split, self.width, self.downsampling
        return next(one for one in self.candidates if one.choice == chosen)


@dataclass(frozen=True)
class Data:
    """Frames of the training, and what is kept of them in memory."""

    frames: int  # that are trained on
    crop: list[int] | None  # height and width; None: whole frames
    batch_size: int  # pairs per iteration
    cache_bytes: int  # of decoded frames that a data worker keeps
    feature_cache: float  # gigabytes of memory for kept features
    kept_frames: int  # whose features it holds, in all sizes
    sizes: int = 1  # of a frame whose features are kept


@dataclass(frozen=True)
class Training:
    """Steps of the training, and what they need."""

    interval: list[int]  # smallest and largest, of its pairs
    steps: dict[str, int]  # iterations of `regression` and `semantic`
    # per iteration of each step, for a frame's features (`first`), and for reading a batch (`read`)
    seconds: dict[str, float]
    threads: int  # of PyTorch, those of the plan: sums depend on them
    disk: float  # gigabytes
    made: dict[str, int] = field(default_factory=dict)  # iterations, when all steps are finished


_PARTS = dict(videos=Videos, networks=Networks, data=Data, training=Training)


@dataclass(frozen=True)
class Plan:
    """All choices of an adaptation, which are made once. The file has the fields of all parts side by side."""

    detector: str  # config or name of the image detector
    checkpoint: str
    digest: str  # hash of the weights
    config_digest: str
    device: str  # type of the device on which times were measured
    minutes: float  # of the whole adaptation
    fps: float | None  # that was asked for
    seed: int
    videos: Videos
    networks: Networks
    data: Data
    training: Training
    runtime: str = 'torch'  # in which times were measured
    # What was recommended without training: for the config; its name, the milliseconds of a frame, and whether it is
    # accurate and fast enough; milliseconds of *track* by key-frame interval.
    untrained: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> 'Plan':
        """Read a plan."""
        try:
            content = read_json(path)
            content['candidates'] = [Candidate(**one) for one in content['candidates']]
            content['clips'] = [EvaluationClip(*clip) for clip in content['clips']]
            for name, part in _PARTS.items():
                own = [key.name for key in fields(part) if key.name in content]
                content[name] = part(**{key: content.pop(key) for key in own})
            return cls(**content)
        except (ValueError, KeyError, TypeError) as error:
            raise PlanError(f'{path}: is no plan of this version ({error})') from error

    def save(self, path: Path) -> None:
        """Write the plan atomically."""
        content = asdict(self)
        for name in _PARTS:
            content |= content.pop(name)
        write_json(content, path, indent=2)

    def text(self) -> str:
        """Describe the plan for a user."""
        videos, networks, data, training = self.videos, self.networks, self.data, self.training
        levels = ', '.join(
            f'{c} channels at stride {s:g}'
            for c, s in zip(networks.channels, networks.strides, strict=True)
        )
        chosen, notes = networks.chosen, [self.gain()[1]]
        rows = [
            ('split point', 'flow network', 'key, ms', 'non-key, ms', 'speed-up', 'fps', 'chosen')
        ]
        for one in networks.candidates:
            times = [f'{time:.1f}' for time in (one.key, one.non_key, one.speedup, one.fps)]
            note = '*' * (one is chosen)
            if not one.speedup:
                times, note = ['-'] * len(times), 'not possible' if one.refused else 'not measured'
            network = f'FlowNetS, width × {one.width:g}, frames × 1/{one.downsampling}'
            rows.append((one.split, network, *times, note))
        if self.fps and chosen.fps < self.fps:
            notes.append(
                f'None of them reaches {self.fps:g} frames per second; smaller inputs are measured after the training'
            )
        if 1000 / networks.reading <= 1.01 * chosen.fps:
            notes.append(
                f'Decoding or resizing, {networks.reading:.1f} ms a frame, limits the speed'
            )
        seconds = self.seconds_of(training.steps)
        if sum(seconds.values()) > 60 * self.minutes:
            notes.append(
                f'The shortest possible training takes longer than {self.minutes:g} minutes'
            )
        reason = f'Only the regression loss is possible: {networks.reason}'
        end = 1 - videos.portion
        part = f'the last {end:.0%} of each' if end else 'whole videos'
        memory = f'{data.feature_cache:.2f} GB of memory' if data.feature_cache else 'none'
        height, width = networks.input_size
        size = 'x'.join(map(str, data.crop or networks.input_size))
        lines = [
            f'Detector: {networks.family}; propagated: {levels}',
            f'Forecasts at l = {networks.key_interval}, input {height}x{width}, from decoding to boxes, on this '
            f'machine ({self.device}, {self.runtime}, intervals at a time: {networks.workers}); the detector alone: '
            f'{chosen.fps / chosen.speedup:.1f} fps',
            text_table(rows),
            *notes,
            'Losses: regression (features)'
            + ', then semantic (outputs of the heads)' * networks.semantic,
            *([reason] if networks.reason else []),
            f'Training: batches of {data.batch_size} pairs of {size}, intervals {training.interval[0]} to '
            f'{training.interval[1]}; threads: {training.threads}; kept features: {memory}; disk: '
            f'{training.disk:.2f} GB',
            *(
                f'  {name}: {iters} iterations, about {_duration(seconds[name])}'
                + f'; they took longer, so {made} were made' * (made < iters)
                for name, iters in training.steps.items()
                for made in [training.made.get(name, iters)]
            ),
            f'Videos: {len(videos.videos)} for training, {len(videos.held_back)} for validation ({part}), '
            f'{len(videos.skipped)} skipped',
            'Input sizes of the validation: × '
            + ', '.join(f'{scale:g}' for scale in videos.scales),
        ]
        return '\n'.join(lines)

    def gain(self) -> tuple[bool, str]:
        """Return whether the training can pay, and the sentence why.

        At best, propagated frames are as accurate as detected ones. Then any key-frame interval would do, and any
        distance of light frames.
        """
        known, non_key = self.untrained, self.networks.chosen.non_key
        if not known:
            return True, 'Methods without training were not measured'
        best, interval, every = min(
            (
                float(time) + (math.ceil(int(length) / every) - 1) / int(length) * non_key,
                int(length),
                every,
            )
            for length, time in known['tracked'].items()
            for every in LIGHT_EVERY
        )
        times = known['milliseconds'] / best
        at_best = f'{known["name"]} takes {known["milliseconds"]:.1f} ms a frame without training'
        if self.fps:
            pays = not known['enough']
            if pays:
                return (
                    True,
                    f'Training can pay: no method without it reaches {self.fps:g} frames per second within the loss',
                )
            return False, f'Training cannot pay: {at_best}, which is enough'
        ceiling = (
            f'{at_best}. If propagated frames ({non_key:.1f} ms) were as accurate as detected ones, a key frame every '
            f'{interval} frames and a propagated one every {every} would take {best:.1f} ms: {times:.1f} times as fast'
        )
        if times >= LEAST_SPEEDUP:
            return True, f'Training can pay: {ceiling}'
        return False, f'Training cannot pay: {ceiling}, less than {LEAST_SPEEDUP}'

    def seconds_of(self, steps: Mapping[str, int]) -> dict[str, float]:
        """Return the expected seconds of steps of a training with these iterations.

        Frames are drawn at random. Features that are kept are computed when they are drawn for the first time.
        """
        data, seconds, drawn, total = self.data, self.training.seconds, 0, {}
        share = data.kept_frames / data.frames
        different = max(data.sizes * data.kept_frames, 1)
        remaining = lambda: different * math.exp(-share * drawn / different)  # noqa: E731
        for name, iters in steps.items():
            frames, before = 2 * data.batch_size * iters, remaining()
            drawn += frames
            computed = (1 - share) * frames + (before - remaining()) * (share > 0)
            each = seconds[name] + seconds['read']
            total[name] = iters * each + computed * seconds['first']
        return total


def _duration(seconds: float) -> str:
    return f'{seconds:.0f} seconds' if seconds < 90 else f'{seconds / 60:.0f} minutes'
