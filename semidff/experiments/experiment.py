"""Steps and evaluations of an experiment."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from .settings import locate
from .step import Step


@dataclass(frozen=True)
class RowRun:
    """Evaluation of one row of the table at one key-frame interval with one seed's weights.

    Attributes:
        row: The row's name.
        method: Its method.
        key_interval: Key-frame interval l; None for *frame*, which does not depend on it.
        seed: Seed of the weights.
        step: The process.
        model: Config, checkpoint and options in the command; equal for rows that share a model.
        group: Name that rows with the same detector share: they are compared with its *frame*.
    """

    row: str
    method: str
    key_interval: int | None
    seed: int
    step: Step
    model: tuple[str, ...]
    group: str

    @property
    def label(self) -> str:
        """Name that distinguishes the key-frame intervals."""
        return row_label(self.row, self.key_interval)


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

    def speed_steps(self, rows: Collection[str]) -> list[Step]:
        """Return the steps that measure the speed of evaluated rows.

        Args:
            rows: Names of the evaluations' steps.
        """
        groups: dict[str, list[RowRun]] = {}
        for run in self.rows:
            if self.with_speed and run.seed == self.rows[0].seed and run.step.name in rows:
                groups.setdefault(run.group, []).append(run)
        return [self._speed_step(self.speed_file(group), runs) for group, runs in groups.items()]

    def speed_file(self, group: str) -> Path:
        """Return the file with the speeds of a group's rows."""
        return self.work_dir / (f'speed-{group}' if group else 'speed') / 'speed.json'

    def _speed_step(self, file: Path, runs: Sequence[RowRun]) -> Step:
        command = ['tools/analysis/measure_speed.py', '--out', str(file)]
        configs: dict[tuple[str, ...], Path] = {}
        for run in runs:
            config, checkpoint, *_ = run.model
            # The evaluation writes its config there, with all options merged.
            path = configs.setdefault(run.model, run.step.folder / locate(config).name)
            row = f'{run.label}={path},{checkpoint},{run.method},{run.key_interval or 1}'
            command += ['--row', row]
        return Step(
            name=file.parent.name,
            kind='speed',
            command=tuple(command),
            folder=file.parent,
            needs=tuple(run.step.name for run in runs),
            environment=runs[0].step.environment,
            alone=True,
        )


def row_label(row: str, key_interval: int | None) -> str:
    """Return the name of a row at one key-frame interval."""
    return row if key_interval is None else f'{row}/l{key_interval}'
