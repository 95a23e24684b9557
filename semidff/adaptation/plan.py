"""The plan of an adaptation: everything that is chosen before the training, kept as ``plan.json``."""

import json
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
    """Split point and flow network, with milliseconds per frame that were measured on this machine.

    They include decoding and resizing on a CPU; on a GPU these go on at the same time.
    """

    split: str
    width: float  # of FlowNetS
    downsampling: int = 2  # of the frames that it sees
    key: float = 0.0
    non_key: float = 0.0
    speedup: float = 0.0  # forecast at the plan's key-frame interval, from decoding to boxes
    fps: float = 0.0  # likewise
    refused: str = ''  # why this split point is impossible; the times are 0 then

    @property
    def choice(self) -> tuple[str, float, int]:
        """Split point, and width and downsampling of FlowNetS."""
        return self.split, self.width, self.downsampling


@dataclass
class Plan:
    """All choices of an adaptation, which are made once."""

    detector: str  # config or name of the image detector
    checkpoint: str
    digest: str  # hash of the weights
    device: str  # type of the device on which times were measured
    config_digest: str = ''
    family: str = ''  # of heads, and dense head
    channels: list[int] = field(default_factory=list)  # of each propagated level
    strides: list[float] = field(default_factory=list)
    input_size: list[int] = field(default_factory=list)  # height and width, for the first video
    reading: float = 0.0  # milliseconds of a frame: decoding or the test pipeline, the longer
    workers: int = 1  # intervals that are processed at once
    alone: list[float] = field(default_factory=list)  # of a key and a non-key frame, one at a time
    candidates: list[Candidate] = field(default_factory=list)
    split: str = ''
    width: float = 0.0
    downsampling: int = 2
    flow_stride: int = 16
    correction_width: int = 0  # of the temporal module; 0 without a correction
    current_width: int = 0  # of its network on the current frame
    semantic: bool = True  # whether there is a semantic step
    reason: str = ''  # why not
    key_interval: int = 10  # of the forecasts
    fps: float | None = None  # that was asked for
    interval: list[int] = field(default_factory=list)  # smallest and largest, of training pairs
    crop: list[int] | None = None  # height and width; None: whole frames
    batch_size: int = 4  # pairs per iteration
    threads: int = 0  # of PyTorch, those of the plan: sums depend on them
    feature_cache: float = 0.0  # gigabytes of memory for kept features
    kept_frames: int = 0  # whose features it holds, in all sizes
    cache_bytes: int = 512 * 2**20  # of decoded frames that a data worker keeps
    disk: float = 0.0  # gigabytes that the training needs
    # per iteration of each step, for a frame's features (`first`), and for reading a batch (`read`)
    seconds: dict[str, float] = field(default_factory=dict)
    portion: float = 1.0  # of each video that is trained on, from its start; 1: whole videos
    held_back: list[str] = field(default_factory=list)  # videos, whose rest validates
    clips: list[list] = field(default_factory=list)  # path, first frame and end
    skipped: list[str] = field(default_factory=list)  # videos that cannot be read
    scales: list[float] = field(default_factory=lambda: [*SCALES, *DENSE_SCALES])
    frames: int = 0  # that are trained on
    seed: int = 0
    minutes: float = 60.0  # of the whole adaptation
    videos: list[str] = field(default_factory=list)  # that are trained on
    steps: dict[str, int] = field(default_factory=dict)  # iterations of `regression` and `semantic`

    @classmethod
    def load(cls, path: Path) -> 'Plan':
        """Read a plan."""
        try:
            content = json.loads(path.read_text())
            return cls(**dict(content, candidates=[Candidate(**c) for c in content['candidates']]))
        except (ValueError, KeyError, TypeError) as error:
            raise PlanError(f'{path}: is no plan of this version ({error})') from error

    def save(self, path: Path) -> None:
        """Write the plan atomically."""
        write_json(asdict(self), path, indent=2)

    @property
    def chosen(self) -> Candidate:
        """The candidate that was chosen."""
        chosen = self.split, self.width, self.downsampling
        return next(one for one in self.candidates if one.choice == chosen)

    def text(self) -> str:
        """Describe the plan for a user."""
        levels = ', '.join(
            f'{c} channels at stride {s:g}'
            for c, s in zip(self.channels, self.strides, strict=True)
        )
        rows = [
            ('split point', 'flow network', 'key, ms', 'non-key, ms', 'speed-up', 'fps', 'chosen')
        ]
        for one in self.candidates:
            times = [f'{time:.1f}' for time in (one.key, one.non_key, one.speedup, one.fps)]
            note = '*' * (one is self.chosen)
            if one.refused:
                times, note = ['-'] * len(times), 'not possible'
            network = f'FlowNetS, width × {one.width:g}, frames × 1/{one.downsampling}'
            rows.append((one.split, network, *times, note))
        chosen, notes = self.chosen, []
        if self.fps and chosen.fps < self.fps:
            notes.append(
                f'None of them reaches {self.fps:g} frames per second; smaller inputs are measured after the training'
            )
        if chosen.speedup < LEAST_SPEEDUP:
            notes.append(f'A speed-up below {LEAST_SPEEDUP} is trained only with --anyway')
        if 1000 / self.reading <= 1.01 * chosen.fps:
            notes.append(f'Decoding or resizing, {self.reading:.1f} ms a frame, limits the speed')
        if sum(self.time_of(*step) for step in self.steps.items()) > 60 * self.minutes:
            notes.append(
                f'The shortest possible training takes longer than {self.minutes:g} minutes'
            )
        part = 'whole videos' if self.portion == 1 else f'the last {1 - self.portion:.0%} of each'
        memory = f'{self.feature_cache:.2f} GB of memory' if self.feature_cache else 'none'
        size = 'x'.join(map(str, self.crop or self.input_size))
        lines = [
            f'Detector: {self.family}; propagated: {levels}',
            f'Forecasts at l = {self.key_interval}, input {self.input_size[0]}x{self.input_size[1]}, from decoding '
            f'to boxes, on this machine ({self.device}, intervals at a time: {self.workers}); the detector alone: '
            f'{self.fps_of(chosen.key):.1f} fps',
            text_table(rows),
            *notes,
            'Losses: regression (features)'
            + (', then semantic (outputs of the heads)' if self.semantic else ''),
            *([f'Only the regression loss is possible: {self.reason}'] if self.reason else []),
            f'Training: batches of {self.batch_size} pairs of {size}, intervals {self.interval[0]} to '
            f'{self.interval[1]}; threads: {self.threads}; kept features: {memory}; disk: {self.disk:.2f} GB',
            *(
                f'  {name}: {iters} iterations, about {_duration(self.time_of(name, iters))}'
                for name, iters in self.steps.items()
            ),
            f'Videos: {len(self.videos)} for training, {len(self.held_back)} for validation ({part}), '
            f'{len(self.skipped)} skipped',
            'Input sizes of the validation: × ' + ', '.join(f'{scale:g}' for scale in self.scales),
        ]
        return '\n'.join(lines)

    def fps_of(self, key: float, non_key: float | None = None) -> float:
        """Return the frames per second of a file at the plan's key-frame interval; without ``non_key`` all are key."""
        each = key if non_key is None else non_key
        mean = (key + (self.key_interval - 1) * each) / self.key_interval
        return 1000 / max(mean, self.reading)

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


def _duration(seconds: float) -> str:
    return f'{seconds:.0f} seconds' if seconds < 90 else f'{seconds / 60:.0f} minutes'
