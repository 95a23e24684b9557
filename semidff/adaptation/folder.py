"""What an adaptation has chosen, which is kept in its folder."""

import hashlib
import json
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from semidff.inference import Point
from semidff.inference.executors import default_runtime
from semidff.points.clips import Clip
from semidff.utils.atomic_write import read_json, write_json
from semidff.utils.configs import read_config
from semidff.utils.error_messages import ConfigError

CHOICES, TABLE, TRAINING = 'choices.json', 'points.json', 'training/config.py'
DETECTOR = 'detector.pth'


class AdaptError(ValueError):
    """Videos or a detector that cannot be adapted, or the folder of another adaptation."""


@dataclass(frozen=True)
class Network:
    """A split point and a temporal module.

    Attributes:
        downsampling: Of the frames that the flow network sees, at whose cells of ``flow_stride``
            pixels it computes.
        correction_width, current_width: Of the temporal module's correction; 0 without one.
        strides: Of the propagated levels.
        steps: Of the training; heads that :class:`~semidff.models.objectives.FeatureSemantics` does
            not know are trained by regression alone.
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
        frames: Number of all frames, in all sizes.
        feature_cache: Gigabytes of memory for kept features, which are those of ``kept`` frames.
    """

    portion: float
    crop: list[int] | None
    batch_size: int
    cache_bytes: int
    frames: int
    feature_cache: float
    kept: int


@dataclass
class Choices:
    """What an adaptation has chosen, kept as ``choices.json``.

    Attributes:
        key: What the choices depend on: weights, config, content of the videos.
        trained, held_back: Videos; of both, ``portion`` from the start is trained on if they are
            the same.
        skipped: Videos that cannot be read.
        clips: What is measured.
        holds_back: Whether something is held back for a training; without one, all videos are
            measured.
        network: What is trained; None: not chosen yet.
        pays: Whether its training can pay; ``why`` is the sentence.
        iterations: Of the steps of the training.
        frames: Settings of its data set, by which a short training uses few frames.
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
    frames: dict[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> 'Choices | None':
        """Read those of a folder; None if there are none of this version."""
        with suppress(FileNotFoundError, ValueError, TypeError, KeyError):
            content = read_json(folder / CHOICES)
            content['clips'] = [Clip(*range_, tuple(files)) for *range_, files in content['clips']]
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


@dataclass(frozen=True)
class AdaptedFolder:
    """The detector of a folder of :func:`~semidff.apis.adapt` and its operating point.

    Attributes:
        live: The recommendation for live video; None in folders of 0.3.0.
    """

    path: Path
    point: Point
    live: Point | None = None

    @classmethod
    def read(cls, path: str | Path, point: Point | None = None, **changes: Any) -> 'AdaptedFolder':
        """Read a folder, with a warning if it recommends nothing.

        Args:
            point: Operating point in place of the recommended one.
            changes: See :meth:`~semidff.inference.Point.changed`.

        Raises:
            ConfigError: The folder has no config, or not the weights that its recommendation needs.
        """
        path = Path(path)
        config = path / 'config.py'
        recommended = read_config(config).get('recommended') or {} if config.is_file() else {}
        if recommended.get('runtime') == 'auto':  # of 0.3.0
            recommended['runtime'] = default_runtime('cpu')
            print_log(f'{path}: runs in {recommended["runtime"]}, in place of auto', 'current')
        if recommended.get('smooth_boxes'):  # before 0.3, boxes were smoothed
            recommended.setdefault('filter', 'both')
        names = {each.name for each in fields(Point)}
        point = point or Point(**{name: recommended[name] for name in recommended if name in names})
        live = Point(**recommended['live']) if 'live' in recommended else None
        folder = cls(path, point.changed(**changes), live)
        needed = [config, Path(folder.weights), path / DETECTOR]
        if missing := [file.name for file in dict.fromkeys(needed) if not file.is_file()]:
            raise ConfigError(
                f'{path}: has no {" and no ".join(missing)} for {folder.point}; give a folder that '
                'tools/adapt.py has finished, or a config file'
            )
        if not recommended:
            warnings.warn(
                f'{path}: recommends no operating point, since its validation is not finished; '
                'the default is propagation with key-frame interval 10. Run tools/adapt.py again',
                stacklevel=2,
            )
        return folder

    @property
    def config(self) -> str:
        """The config file."""
        return str(self.path / 'config.py')

    @property
    def weights(self) -> str:
        """The checkpoint: of the detector for methods without temporal module."""
        return str(self.path / ('last.pth' if self.point.uses_temporal else DETECTOR))
