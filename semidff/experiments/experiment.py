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
        speed: Name of the step that measures its speed; None if none does.
    """

    row: str
    method: str
    key_interval: int | None
    seed: int
    step: Step
    model: tuple[str, ...]
    speed: str | None

    @property
    def label(self) -> str:
        """Name that distinguishes the key-frame intervals."""
        return row_label(self.row, self.key_interval)


@dataclass(frozen=True)
class Experiment:
    """Steps of an experiment, each after those that it needs."""

    work_dir: Path
    steps: tuple[Step, ...]
    rows: tuple[RowRun, ...]

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
            if run.speed is not None and run.step.name in rows:
                groups.setdefault(run.speed, []).append(run)
        return [self._speed_step(name, runs) for name, runs in groups.items()]

    def _speed_step(self, name: str, runs: Sequence[RowRun]) -> Step:
        folder = self.work_dir / name
        command = ['tools/analysis/measure_speed.py', '--out', str(folder / 'speed.json')]
        configs: dict[tuple[str, ...], Path] = {}
        for run in runs:
            config, checkpoint, *_ = run.model
            # The evaluation writes its config there, with all options merged.
            path = configs.setdefault(run.model, run.step.folder / locate(config).name)
            row = f'{run.label}={path},{checkpoint},{run.method},{run.key_interval or 1}'
            command += ['--row', row]
        return Step(
            name=name,
            kind='speed',
            command=tuple(command),
            folder=folder,
            needs=tuple(run.step.name for run in runs),
            environment=runs[0].step.environment,
            alone=True,
        )


def row_label(row: str, key_interval: int | None) -> str:
    """Return the name of a row at one key-frame interval."""
    return row if key_interval is None else f'{row}/l{key_interval}'
