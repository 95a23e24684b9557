"""Steps of an experiment: processes with their folders and stamps."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from semidff.utils.atomic_write import write_json

STAMP = '.step.json'
PRODUCTS = {'train': 'last.pth', 'row': 'metrics.json', 'speed': 'speed.json'}


@dataclass(frozen=True)
class Step:
    """A process with everything that it depends on.

    Attributes:
        name: Unique name, with the seed's folder where there are several seeds (``seed0/flow``).
        kind: 'train' (can be resumed), 'row' (evaluation), 'speed' (measurement) or 'command'.
        command: The program and its arguments, without the interpreter.
        folder: Folder of the results; it is emptied when the step's definition changes.
        needs: Names of the steps that must be done before.
        config: Contents of the mmengine config, with bases and variables resolved; and size and
            time of a checkpoint that no step produces.
        environment: Variables that the step's process gets.
        alone: Whether no other step may run at the same time.
    """

    name: str
    kind: str
    command: tuple[str, ...]
    folder: Path
    needs: tuple[str, ...] = ()
    config: str = ''
    environment: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False

    @property
    def product(self) -> Path | None:
        """The file that exists when the step has succeeded; None for a command."""
        return self.folder / PRODUCTS[self.kind] if self.kind in PRODUCTS else None


def fingerprint(step: Step, before: Mapping[str, str], work_dir: Path) -> str:
    """Hash the step's definition and the fingerprints of the steps that it needs.

    Args:
        step: The step.
        before: Fingerprints of the steps that it needs.
        work_dir: The experiment's folder; it is left out of the hash, so that it can be moved.
    """
    own = [inside(work_dir).sub('{work_dir}', text) for text in (*step.command, step.config)]
    definition = [own, [before[name] for name in step.needs]]
    return hashlib.sha256(json.dumps(definition).encode()).hexdigest()[:16]


def inside(folder: Path) -> re.Pattern[str]:
    """Return a pattern that finds a folder, or the beginning of a path in it, in a text."""
    return re.compile(rf'(?<![\w./-]){re.escape(str(folder))}(?=["/]|$)')


@dataclass(frozen=True)
class Stamp:
    """Record in a step's folder: fingerprint of the definition, and whether the step succeeded."""

    fingerprint: str
    done: bool

    @classmethod
    def read(cls, folder: Path) -> Stamp | None:
        """Return the folder's stamp, or None where there is none or it is unreadable."""
        try:
            content = json.loads((folder / STAMP).read_text())
            return cls(content['fingerprint'], content['done'])
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write(self, folder: Path) -> None:
        """Write the stamp into the folder."""
        write_json(asdict(self), folder / STAMP)


def is_done(step: Step, mark: str) -> bool:
    """Return whether the step has already succeeded with the definition of fingerprint ``mark``."""
    complete = step.product is None or step.product.exists()
    return complete and Stamp.read(step.folder) == Stamp(mark, done=True)


def prepare_folder(step: Step, mark: str, work_dir: Path) -> bool:
    """Prepare the folder for a start of the step; return whether a training can be resumed.

    An interrupted training is resumed. Incomplete results of other steps are removed. Results of another
    definition are moved to ``previous/``, where they replace older ones. A folder without a stamp
    was not created by an experiment and is kept.
    """
    stamp = Stamp.read(step.folder)
    if stamp is not None and stamp.fingerprint != mark:
        target = work_dir / 'previous' / step.name
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(step.folder, target)
    elif stamp is not None and step.kind != 'train':
        shutil.rmtree(step.folder)
    Stamp(mark, done=False).write(step.folder)
    return step.kind == 'train' and (step.folder / 'last_checkpoint').exists()
