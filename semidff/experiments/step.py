"""One step of a chain: a process, its folder, and the stamp that says what was done there."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

STAMP = '.step.json'


@dataclass(frozen=True)
class Step:
    """A process of the chain with what it depends on.

    Attributes:
        name: Unique name, with the seed's folder where there are several seeds (``seed0/flow``).
        kind: 'train' (resumable, leaves ``last.pth``), 'row' (leaves ``metrics.json``), 'command'.
        command: The program and its arguments, without the interpreter.
        folder: What the step writes; emptied when the step's definition changes.
        needs: Names of the steps that must be done before.
        minutes: Expected duration on two cores.
        config: Contents of the mmengine config, with bases and variables resolved; and the state
            of a checkpoint that comes from elsewhere.
        environment: Variables that the step's process gets.
        alone: Whether nothing else may run at the same time (speed is measured).
    """

    name: str
    kind: str
    command: tuple[str, ...]
    folder: Path
    needs: tuple[str, ...] = ()
    minutes: float = 1.0
    config: str = ''
    environment: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False

    @property
    def product(self) -> Path | None:
        """The file that must be there when the step has ended well."""
        names = {'train': 'last.pth', 'row': 'metrics.json'}
        return self.folder / names[self.kind] if self.kind in names else None


def fingerprint(step: Step, before: Mapping[str, str], work_dir: Path) -> str:
    """Hash of the step's definition and of everything it was built on.

    Args:
        step: The step.
        before: Fingerprints of the steps it needs.
        work_dir: The chain's folder; it does not count, so a chain can be moved.
    """
    own = [inside(work_dir).sub('{work_dir}', text) for text in (*step.command, step.config)]
    definition = [own, [before[name] for name in step.needs]]
    return hashlib.sha256(json.dumps(definition).encode()).hexdigest()[:16]


def inside(folder: Path) -> re.Pattern[str]:
    """Finds a folder, as itself or as the beginning of a path, in arguments and config texts."""
    return re.compile(rf'(?<![\w./-]){re.escape(str(folder))}(?=["/]|$)')


@dataclass(frozen=True)
class Stamp:
    """What is known of a step's folder: which definition, whether it ended, how long it took."""

    fingerprint: str
    done: bool
    minutes: float

    @classmethod
    def read(cls, folder: Path) -> Stamp | None:
        """The folder's stamp, or None where there is none or it cannot be read."""
        try:
            return cls(**json.loads((folder / STAMP).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        """Puts the stamp into the folder in one move, so that half a stamp never stands there."""
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f'{STAMP}.part'
        part.write_text(json.dumps(self.__dict__))
        os.replace(part, folder / STAMP)


def is_done(step: Step, mark: str) -> bool:
    """Whether the step has already ended well with this very definition."""
    stamp = Stamp.read(step.folder)
    if stamp is None or not stamp.done or stamp.fingerprint != mark:
        return False
    return step.product is None or step.product.exists()


def prepare_folder(step: Step, mark: str, work_dir: Path) -> bool:
    """Makes the folder ready for a start of the step and says whether a training can be resumed.

    A training that was interrupted continues. Half-written results of another kind are removed;
    the results of another definition go to ``previous/`` (the last ones only). A folder without a
    stamp was not made by a chain and is left as it is.
    """
    stamp = Stamp.read(step.folder)
    if stamp is not None:
        if stamp.fingerprint != mark:
            _move_aside(step.folder, work_dir / 'previous' / step.name)
        elif step.kind != 'train':
            shutil.rmtree(step.folder)
    resume = resumes(step)
    Stamp(mark, done=False, minutes=stamp.minutes if resume and stamp else 0.0).write(step.folder)
    return resume


def resumes(step: Step) -> bool:
    """Whether the step is a training with a checkpoint to continue from."""
    return step.kind == 'train' and (step.folder / 'last_checkpoint').exists()


def _move_aside(folder: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(folder, target)


def finish_training(step: Step) -> None:
    """Sees to it that a training's last checkpoint is there as ``last.pth``.

    Trainings with ``LastCheckpointHook`` leave it; for others the name is added.

    Raises:
        FileNotFoundError: If the training ended without a checkpoint.
    """
    last, record = step.folder / 'last.pth', step.folder / 'last_checkpoint'
    if last.exists():
        return
    if not record.exists():
        raise FileNotFoundError(
            f'{step.name} ended without a checkpoint in {step.folder}: the config needs a '
            'CheckpointHook (default_hooks.checkpoint) that saves at the last iteration.'
        )
    last.symlink_to(Path(record.read_text().strip()).name)
