"""Reads a chain config and lays it out as steps, once for every seed.

A chain config is an ordinary mmengine config in Python with these names (docs/experiments.md has a
worked example)::

    work_dir = 'work_dirs/quickstart'
    steps = [
        dict(name='world', command=['tools/make_synthetic.py', '{world}'], minutes=2, shared=True),
        dict(name='stage_one', train='configs/quickstart/rfcn_synthetic.py', needs=['world'], minutes=5,
             cfg_options={'optim_wrapper.optimizer.lr': 0.01}),
    ]
    rows = [
        dict(name='frame', method='frame', config='configs/quickstart/rfcn_synthetic.py',
             checkpoint='{stage_one}/last.pth'),
    ]
    key_intervals = [10]
    seeds = [0]
    render = dict(row='two-step', key_interval=10, videos=1)

In every string ``{work_dir}``, ``{seed}`` and ``{NAME}`` (the folder of the step NAME, of the same
seed) are filled in. With several seeds each step that is not ``shared`` runs once per seed, in
``work_dir/seed0/NAME``, ``work_dir/seed1/NAME``, ...; with one seed in ``work_dir/NAME``.

Model configs may say ``{{$EXPERIMENT_DIR:default}}`` for the work_dir and ``{{$RUN_DIR:default}}`` for
the seed's folder in it. A step needs the steps that it names and those into whose folders its
arguments or its config point.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .settings import ExperimentError, check_experiment, cli_value, config_text, whole_numbers
from .step import Step, inside


@dataclass(frozen=True)
class RowRun:
    """One evaluation: a row of the table at one key interval with one seed's weights."""

    row: str
    method: str
    key_interval: int | None  # None: the method does not depend on it ('frame')
    seed: int
    step: Step


@dataclass(frozen=True)
class Chain:
    """A chain, ready to run: its steps in an order in which they can be done."""

    work_dir: Path
    steps: tuple[Step, ...]
    rows: tuple[RowRun, ...]

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """Trainings and commands, then the evaluations."""
        return (*self.steps, *(run.step for run in self.rows))


def load_experiment(
    path: str | Path, work_dir: str | None = None, cfg_options: Mapping[str, Any] | None = None
) -> Chain:
    """Reads and checks a chain config.

    Args:
        path: The config file.
        work_dir: Takes the place of the config's ``work_dir``.
        cfg_options: Settings that override the config's (``seeds``, ``key_intervals``, ...).

    Raises:
        ExperimentError: If something in it cannot be run; the text names the entry.
        FileNotFoundError: If the config, or one that it names, does not exist.
    """
    from mmengine.config import Config

    config = Config.fromfile(path, import_custom_modules=False)
    config.merge_from_dict(dict(cfg_options or {}))
    # names with an underscore are the config's own helpers
    settings = {k: v for k, v in config.to_dict().items() if not k.startswith('_')}
    if work_dir is not None:
        settings['work_dir'] = work_dir
    try:
        return build_experiment(settings)
    except ExperimentError as error:
        raise ExperimentError(f'{path}: {error}') from None


def build_experiment(
    settings: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> Chain:
    """Lays out a chain whose settings do not come from a file.

    Args:
        settings: What a chain config says.
        environment: Variables of all its processes, in place of the chain's own folders in
            ``EXPERIMENT_DIR`` and ``RUN_DIR``; for chains that evaluate what others have trained.

    Raises:
        ExperimentError: If something in it cannot be run; the text names the entry.
        FileNotFoundError: If a config that it names does not exist.
    """
    return _Layout(settings, environment).chain()


class _Layout:
    """Turns the settings into steps; holds what the entries have in common."""

    def __init__(
        self, settings: Mapping[str, Any], environment: Mapping[str, str] | None = None
    ) -> None:
        check_experiment(settings)
        self.environment = environment
        self.work_dir = Path(settings['work_dir'])
        self.seeds = whole_numbers('seeds', settings.get('seeds', [0]), least=0)
        self.key_intervals = whole_numbers('key_intervals', settings.get('key_intervals', [10]), 1)
        self.options = dict(settings.get('cfg_options', {}))
        self.entries, self.rows = settings['steps'], settings.get('rows', [])
        self.render = settings.get('render')
        self.shared = {entry['name']: entry.get('shared', False) for entry in self.entries}

    def chain(self) -> Chain:
        steps: dict[str, Step] = {}
        for seed in self.seeds:
            for entry in self.entries:
                step = self._step(entry, seed, steps)
                steps.setdefault(step.name, step)
        rows = [
            run for seed in self.seeds for row in self.rows for run in self._runs(row, seed, steps)
        ]
        return Chain(self.work_dir, tuple(steps.values()), tuple(rows))

    def _home(self, seed: int) -> str:
        """The seed's folder inside the work_dir; a single seed needs none."""
        return f'seed{seed}/' if len(self.seeds) > 1 else ''

    def _environment(self, seed: int) -> dict[str, str]:
        """What configs may refer to as ``{{$EXPERIMENT_DIR:default}}`` and ``{{$RUN_DIR:default}}``."""
        if self.environment is not None:
            return dict(self.environment)
        home = self.work_dir / self._home(seed)
        return {'EXPERIMENT_DIR': str(self.work_dir), 'RUN_DIR': str(home)}

    def _full_name(self, name: str, seed: int) -> str:
        return name if self.shared[name] else self._home(seed) + name

    def _fill(self, text: str, seed: int) -> str:
        """Puts paths and the seed into a string of the config."""
        known = {'work_dir': str(self.work_dir), 'seed': str(seed)}
        known |= {name: str(self.work_dir / self._full_name(name, seed)) for name in self.shared}

        def value(match: re.Match[str]) -> str:
            if match[1] not in known:
                raise ExperimentError(f'unknown {match[0]} in {text!r}; known are {sorted(known)}.')
            return known[match[1]]

        return re.sub(r'\{([\w.-]+)\}', value, text)

    def _options(self, entry: Mapping[str, Any], seed: int, extra: Mapping[str, Any]) -> list[str]:
        values = {**self.options, **extra, **entry.get('cfg_options', {})}
        pairs = [f'{key}={cli_value(key, value)}' for key, value in values.items()]
        return ['--cfg-options', *(self._fill(pair, seed) for pair in pairs)] if pairs else []

    def _step(self, entry: Mapping[str, Any], seed: int, before: Mapping[str, Step]) -> Step:
        name = self._full_name(entry['name'], seed)
        folder = self.work_dir / name
        environment = self._environment(seed)
        config = ''
        if 'train' in entry:
            config = config_text(entry['train'], environment)
            command = ['tools/train.py', entry['train'], '--work-dir', str(folder)]
            command += self._options(entry, seed, {'randomness.seed': seed})
        else:
            command = [self._fill(str(argument), seed) for argument in entry['command']]
        named = [self._need(need, name, seed, before) for need in entry.get('needs', [])]
        needs = _needs([*command, config], named, before, name)
        if entry.get('shared') and (own := [need for need in needs if need not in self.shared]):
            raise ExperimentError(f'step {name!r} is shared by all seeds, but needs {own}.')
        return Step(
            name=name,
            kind='train' if 'train' in entry else 'command',
            command=tuple(command),
            folder=folder,
            needs=needs,
            minutes=float(entry.get('minutes', 1)),
            config=config,
            environment=environment,
            alone=bool(entry.get('alone', False)),
        )

    def _need(self, need: str, name: str, seed: int, before: Mapping[str, Step]) -> str:
        if need not in self.shared or self._full_name(need, seed) not in before:
            raise ExperimentError(f'step {name!r} needs {need!r}, which is not a step before it.')
        return self._full_name(need, seed)

    def _runs(self, row: Mapping[str, Any], seed: int, steps: Mapping[str, Step]) -> list[RowRun]:
        intervals = row.get('key_intervals', self.key_intervals)
        if row['method'] == 'frame':
            intervals = [None]
        return [self._run(row, seed, interval, steps) for interval in intervals]

    def _run(
        self, row: Mapping[str, Any], seed: int, interval: int | None, steps: Mapping[str, Step]
    ) -> RowRun:
        tail = row['name'] if interval is None else f'{row["name"]}/l{interval}'
        name = f'{self._home(seed)}rows/{tail}'
        folder = self.work_dir / name
        checkpoint = self._fill(row['checkpoint'], seed)
        command = ['tools/test.py', row['config'], checkpoint, '--method', row['method']]
        command += [] if interval is None else ['--key-interval', str(interval)]
        command += ['--work-dir', str(folder), '--metrics-out', str(folder / 'metrics.json')]
        command += self._rendering(row, seed, interval, folder)
        command += self._options(row, seed, {})
        environment = self._environment(seed)
        config = config_text(row['config'], environment)
        if not any(inside(other.folder).search(checkpoint) for other in steps.values()):
            config += _state_of(checkpoint)
        step = Step(
            name=name,
            kind='row',
            command=tuple(command),
            folder=folder,
            needs=_needs([*command, config], [], steps, name),
            minutes=float(row.get('minutes', 1)),
            config=config,
            environment=environment,
            alone=True,
        )
        return RowRun(row['name'], row['method'], interval, seed, step)

    def _rendering(
        self, row: Mapping[str, Any], seed: int, interval: int | None, folder: Path
    ) -> list[str]:
        """Options that let the evaluation of one row write videos, too, with the first seed."""
        render = self.render
        if render is None or row['name'] != render['row'] or seed != self.seeds[0]:
            return []
        intervals = row.get('key_intervals', self.key_intervals)
        if interval is not None and interval != render.get('key_interval', intervals[0]):
            return []
        return ['--render', str(folder / 'videos'), '--render-videos', str(render.get('videos', 1))]


def _state_of(path: str) -> str:
    """Tells a file that no step makes from what it was before it was written again."""
    if not Path(path).is_file():
        return ''
    stat = Path(path).stat()
    return f'{stat.st_size} bytes of {stat.st_mtime_ns}'


def _needs(
    texts: Sequence[str], named: Sequence[str], before: Mapping[str, Step], name: str
) -> tuple[str, ...]:
    """The steps that an entry names, and those whose folders its arguments or config name."""
    found = set(named)
    for other in before.values():
        if other.name != name and any(inside(other.folder).search(text) for text in texts):
            found.add(other.name)
    return tuple(sorted(found))
