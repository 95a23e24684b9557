"""Experiments: steps, which are processes with their folders and stamps, and evaluations."""

import hashlib
import json
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semidff.utils.atomic_write import write_json

from .settings import ExperimentError, locate

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
        detector: Hash of the config of the detector that the config names; empty if it names none.
    """

    name: str
    kind: str
    command: tuple[str, ...]
    folder: Path
    needs: tuple[str, ...] = ()
    config: str = ''
    environment: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False
    detector: str = ''

    @property
    def product(self) -> Path | None:
        """The file that exists when the step has succeeded; None for a command."""
        return self.folder / PRODUCTS[self.kind] if self.kind in PRODUCTS else None

    def fingerprint(self, before: Mapping[str, str], work_dir: Path) -> str:
        """Hash the definition and the fingerprints of the steps that it needs.

        Args:
            before: Fingerprints of the steps that it needs.
            work_dir: The experiment's folder; it is left out of the hash, so that it can be moved.
        """
        own = [inside(work_dir).sub('{work_dir}', text) for text in (*self.command, self.config)]
        definition = [own, [before[name] for name in self.needs]]
        return hashlib.sha256(json.dumps(definition).encode()).hexdigest()[:16]

    def write_stamp(self, mark: str, needs: Mapping[str, str | None], run: str | None) -> None:
        """Record in the folder what the step is run with.

        Args:
            mark: Fingerprint of the definition.
            needs: Id of the run of each step that it needs; None for steps run before runs had ids.
            run: Random id of this run if the step has succeeded, else None.
        """
        content = {'fingerprint': mark, 'done': run is not None, 'run': run, 'needs': dict(needs)}
        write_json(content, self.folder / STAMP)

    def _read_stamp(self) -> dict[str, Any]:
        """Return the stamp; empty where there is none or it is unreadable."""
        try:
            content = json.loads((self.folder / STAMP).read_text())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) and 'fingerprint' in content else {}

    @property
    def run(self) -> str | None:
        """Id of the run that succeeded; None if there was none, or if it was before runs had ids."""
        return self._read_stamp().get('run')

    def is_done(self, mark: str, needs: Mapping[str, str | None]) -> bool:
        """Return whether the step has succeeded with this definition and these runs of the steps it needs.

        Args:
            mark: Fingerprint of the definition.
            needs: Id of the last run of each step that it needs.
        """
        stamp = self._read_stamp()
        return self._is_complete(stamp) and _belongs(stamp, mark, needs)

    def _is_complete(self, stamp: Mapping[str, Any]) -> bool:
        complete = self.product is None or self.product.exists()
        return complete and stamp.get('done') is True

    def prepare_folder(self, mark: str, needs: Mapping[str, str | None], work_dir: Path) -> bool:
        """Prepare the folder for a start; return whether a training can be resumed.

        An interrupted training is resumed. Incomplete results of other steps are removed. Results of another
        definition, and those of other runs of the steps that it needs, are moved to ``previous/``, where they
        replace older ones. A folder without a stamp was not created by an experiment and is kept.

        Args:
            mark: Fingerprint of the definition.
            needs: Id of the last run of each step that it needs.

        Raises:
            ExperimentError: If the folder has a training that no experiment began.
        """
        stamp = self._read_stamp()
        if self.kind == 'train' and not stamp and (self.folder / 'last_checkpoint').exists():
            raise ExperimentError(
                f'{self.folder} has a training that no experiment began, which step {self.name!r} would '
                'continue; move or remove this folder, or choose another one with --work-dir'
            )
        # A complete step is only repeated because a step that it needs was run again.
        if stamp and (self._is_complete(stamp) or not _belongs(stamp, mark, needs)):
            _move(self.folder, work_dir / 'previous' / self.name)
        elif stamp and self.kind != 'train':
            # Renamed first: without its stamp, a folder that is half removed would be kept.
            target = self.folder.with_name(f'.{self.folder.name}.incomplete')
            _move(self.folder, target)
            shutil.rmtree(target)
        self.write_stamp(mark, needs, run=None)
        return self.kind == 'train' and (self.folder / 'last_checkpoint').exists()


def _belongs(stamp: Mapping[str, Any], mark: str, needs: Mapping[str, str | None]) -> bool:
    """Return whether a stamp has this definition and these runs; one without ids fits runs that have none either."""
    known = stamp.get('needs', dict.fromkeys(needs))
    same = all(known.get(name, run) == run for name, run in needs.items())
    return same and stamp.get('fingerprint') == mark


def _move(folder: Path, target: Path) -> None:
    """Move a folder in one step; it replaces ``target``."""
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(folder, target)


def inside(folder: Path) -> re.Pattern[str]:
    """Return a pattern that finds a folder, or the beginning of a path in it, in a text."""
    return re.compile(rf'(?<![\w./-])(\./+)*{re.escape(str(folder))}(?![\w.-])')


@dataclass(frozen=True)
class RowRun:
    """Evaluation of one row of the table at one key-frame interval with one seed's weights.

    Attributes:
        key_interval: Key-frame interval l; None for *frame*, which does not depend on it.
        label: Name of the row and the key-frame interval.
        model: Config, checkpoint and options in the command; equal for rows that share a model.
        group: Name that rows with the same detector share: they are compared with its *frame*.
        tables: The paper's mAP in percent, or None, for each table that the row is in.
    """

    row: str
    method: str
    key_interval: int | None
    seed: int
    label: str
    step: Step
    model: tuple[str, ...]
    group: str = ''
    tables: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """Steps of an experiment, each after those that it needs.

    Attributes:
        work_dir: Folder of all results.
        steps: Trainings and commands.
        rows: The evaluations.
        with_speed: Whether the speed of the first seed's rows is measured, in one step per group.
    """

    work_dir: Path
    steps: tuple[Step, ...]
    rows: tuple[RowRun, ...]
    with_speed: bool = True

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """Trainings and commands, the evaluations, and the measurements of speed."""
        rows = [run.step for run in self.rows]
        return (*self.steps, *rows, *self.speed_steps([step.name for step in rows]))

    def rows_of(self, tables: Collection[str]) -> list[str]:
        """Return the names of the rows that are in one of some tables, and of those that they are compared with.

        Raises:
            ValueError: If a table has no row.
        """
        known = {table for run in self.rows for table in run.tables}
        if unknown := sorted(set(tables) - known):
            raise ValueError(f'no row is in table {unknown[0]!r}; there are {sorted(known)}.')
        found = [run for run in self.rows if not run.tables.keys().isdisjoint(tables)]
        groups = {run.group for run in found}
        found += [r for r in self.rows if r.group in groups and r.method in ('frame', 'copy')]
        return list(dict.fromkeys(run.row for run in found))

    def speed_file(self, group: str) -> Path:
        """Return the file with the speeds of a group's rows."""
        return self.work_dir / (f'speed-{group}' if group else 'speed') / 'speed.json'

    def speed_steps(self, rows: Collection[str]) -> list[Step]:
        """Return the steps that measure the speed of evaluated rows.

        Args:
            rows: Names of the evaluations' steps.
        """
        groups: dict[str, list[RowRun]] = {}
        for run in self.rows:
            if self.with_speed and run.seed == self.rows[0].seed and run.step.name in rows:
                groups.setdefault(run.group, []).append(run)
        steps = []
        for group, runs in groups.items():
            file = self.speed_file(group)
            command = ['tools/analysis/speed.py', '--rounds', '10', '--out', str(file)]
            configs: dict[tuple[str, ...], Path] = {}
            for run in runs:
                config, checkpoint, *_ = run.model
                # The evaluation writes its config there, with all options merged.
                path = configs.setdefault(run.model, run.step.folder / locate(config).name)
                row = f'{run.label}={path},{checkpoint},{run.method},{run.key_interval or 1}'
                command += ['--row', row]
            steps.append(
                Step(
                    name=file.parent.name,
                    kind='speed',
                    command=tuple(command),
                    folder=file.parent,
                    needs=tuple(run.step.name for run in runs),
                    environment=runs[0].step.environment,
                    alone=True,
                )
            )
        return steps
