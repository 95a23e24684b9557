"""What an adaptation has chosen, which is kept in its folder."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from semidff.points.clips import Clip
from semidff.utils.atomic_write import read_json, write_json

CHOICES, TABLE, TRAINING = 'choices.json', 'points.json', 'training/config.py'


class AdaptError(ValueError):
    """Videos or a detector that cannot be adapted, or a folder that is that of another adaptation."""


@dataclass(frozen=True)
class Network:
    """A split point and a temporal module.

    Attributes:
        downsampling: Of the frames that the flow network sees, at whose cells of ``flow_stride`` pixels it computes.
        correction_width, current_width: Of the temporal module's correction; 0 without one.
        strides: Of the propagated levels.
        steps: Of the training; heads that :class:`~semidff.models.objectives.FeatureSemantics` does not know are
            trained by regression alone.
    """

    split: str
    downsampling: int = 2
    flow_stride: int = 16
    correction_width: int = 0
    current_width: int = 0
    strides: tuple[float, ...] = ()
    steps: tuple[str, ...] = ('regression', 'semantic')


@dataclass(frozen=True)
class Data:
    """Frames of a training, and what is kept of them in memory.

    Attributes:
        portion: Of each video that is trained on, from its start.
        crop: Height and width; None: whole frames.
        batch_size: Pairs of an iteration.
        cache_bytes: Of decoded frames that a data worker keeps.
        feature_cache: Gigabytes of memory for kept features, which are those of ``kept`` frames, in all sizes.
    """

    portion: float
    crop: list[int] | None
    batch_size: int
    cache_bytes: int
    feature_cache: float
    kept: int


@dataclass
class Choices:
    """What an adaptation has chosen, kept as ``choices.json``.

    Attributes:
        key: What the choices depend on: weights, config, content of the videos.
        trained, held_back: Videos; of both, ``portion`` from the start is trained on if they are the same.
        skipped: Videos that cannot be read.
        clips: What is measured.
        holds_back: Whether something is held back for a training; without one, all videos are measured.
        network: What is trained; None: not chosen yet.
        pays: Whether its training can pay; ``why`` is the sentence.
        iterations: Of the steps of the training.
    """

    key: dict[str, Any]
    trained: list[str] = field(default_factory=list)
    held_back: list[str] = field(default_factory=list)
    portion: float = 1.0
    skipped: list[str] = field(default_factory=list)
    clips: list[Clip] = field(default_factory=list)
    holds_back: bool = False
    network: Network | None = None
    pays: bool = False
    why: str = ''
    iterations: dict[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> 'Choices | None':
        """Read those of a folder; None if there are none of this version."""
        with suppress(FileNotFoundError, ValueError, TypeError, KeyError):
            content = read_json(folder / CHOICES)
            content['clips'] = [Clip(*clip) for clip in content['clips']]
            if network := content['network']:
                lists = {name: tuple(network[name]) for name in ('strides', 'steps')}
                content['network'] = Network(**network | lists)
            return cls(**content)
        return None

    def save(self, folder: Path) -> None:
        """Write the file."""
        write_json(asdict(self), folder / CHOICES, indent=1)


def digest(content: Any) -> str:
    """Hash what can be written as JSON."""
    return hashlib.sha256(json.dumps(content, default=str, sort_keys=True).encode()).hexdigest()


def videos_digest(videos: Sequence[str]) -> str:
    """Hash names and sampled content of videos."""
    return digest([(path, Clip(path).digest()) for path in sorted(videos)])
