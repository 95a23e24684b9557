"""Experiment configs, and their layout as steps for every seed.

An experiment config is an mmengine config in Python with these variables (docs/experiments.md has a
complete example)::

    work_dir = 'work_dirs/quickstart'
    steps = [
        dict(name='dataset', command=['tools/make_synthetic.py', '{dataset}'], shared=True),
        dict(name='stage_one', train='configs/quickstart/rfcn_synthetic.py', needs=['dataset'],
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
seed) are replaced. With several seeds each step that is not ``shared`` runs once per seed, in
``work_dir/seed0/NAME``, ``work_dir/seed1/NAME``, ...; with one seed in ``work_dir/NAME``.

Model configs can use ``{{$EXPERIMENT_DIR:default}}`` for the work_dir and ``{{$RUN_DIR:default}}``
for the seed's folder in it. A step depends on the steps that it lists in ``needs`` and on those in
whose folders paths of its arguments or its config lie.

The evaluations (rows) give accuracy. Speed is measured afterwards, without other steps beside it,
by one step that runs the rows of the first seed in turn.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from semidff.utils.deprecation import renamed_method
from semidff.utils.installed import installed_file

from .experiment import Experiment, RowRun, row_label
from .settings import ExperimentError, check_experiment, cli_value, config_text, integers
from .step import Step, inside


def load_experiment(
    path: str | Path,
    methods: Collection[str],
    work_dir: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> Experiment:
    """Read and check an experiment config.

    Args:
        path: The config file.
        methods: Known methods of ``tools/test.py``.
        work_dir: Replaces the config's ``work_dir``.
        cfg_options: Replace settings of the config (``seeds``, ``key_intervals``, ...).

    Raises:
        ExperimentError: If an entry is invalid; the message names it.
        FileNotFoundError: If the config, or a config that it names, does not exist.
    """
    config = Config.fromfile(installed_file(path), import_custom_modules=False)
    config.merge_from_dict(dict(cfg_options or {}))
    # names with an underscore are the config's own helpers
    settings = {k: v for k, v in config.to_dict().items() if not k.startswith('_')}
    if work_dir is not None:
        settings['work_dir'] = work_dir
    try:
        return build_experiment(settings, methods)
    except ExperimentError as error:
        raise ExperimentError(f'{path}: {error}') from None


def build_experiment(
    settings: Mapping[str, Any],
    methods: Collection[str],
    environment: Mapping[str, str] | None = None,
    groups: Mapping[str, str] | None = None,
    with_speed: bool = True,
) -> Experiment:
    """Lay out an experiment from the settings of a config.

    Args:
        settings: The config's entries.
        methods: Known methods of ``tools/test.py``.
        environment: Variables of all processes; None sets ``EXPERIMENT_DIR`` and ``RUN_DIR`` to the
            experiment's own folders.
        groups: The group of each row, see :class:`RowRun`; by default all are in one.
        with_speed: Whether the speed is measured.

    Raises:
        ExperimentError: If an entry is invalid; the message names it.
        FileNotFoundError: If a config that it names does not exist.
    """
    check_experiment(settings, methods)
    rows = [dict(row, method=renamed_method(row['method'])) for row in settings.get('rows', [])]
    layout = _Layout({**settings, 'rows': rows}, environment, groups or {})
    return Experiment(layout.work_dir, *layout.steps_and_rows(), with_speed)


class _Layout:
    """Builder of the steps; holds what the entries have in common."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        environment: Mapping[str, str] | None,
        groups: Mapping[str, str],
    ) -> None:
        self.environment, self.groups = environment, groups
        self.work_dir = Path(settings['work_dir'])
        self.seeds = integers('seeds', settings.get('seeds', [0]), least=0)
        self.key_intervals = integers('key_intervals', settings.get('key_intervals', [10]), 1)
        self.options = dict(settings.get('cfg_options', {}))
        self.entries, self.rows = settings['steps'], settings['rows']
        self.render = settings.get('render')
        self.shared = {entry['name']: entry.get('shared', False) for entry in self.entries}
        self.steps: dict[str, Step] = {}

    def steps_and_rows(self) -> tuple[tuple[Step, ...], tuple[RowRun, ...]]:
        for seed in self.seeds:
            for entry in self.entries:
                step = self._step(entry, seed)
                self.steps.setdefault(step.name, step)
        rows = [run for seed in self.seeds for row in self.rows for run in self._runs(row, seed)]
        return tuple(self.steps.values()), tuple(rows)

    def _home(self, seed: int) -> str:
        """Return the seed's folder inside the work_dir; a single seed has none."""
        return f'seed{seed}/' if len(self.seeds) > 1 else ''

    def _environment(self, seed: int) -> dict[str, str]:
        if self.environment is not None:
            return dict(self.environment)
        folder = str(self.work_dir)
        run_dir = str(self.work_dir / self._home(seed))
        return {'EXPERIMENT_DIR': folder, 'RUN_DIR': run_dir, 'CHAIN_DIR': folder}

    def _full_name(self, name: str, seed: int) -> str:
        return name if self.shared[name] else self._home(seed) + name

    def _fill(self, text: str, seed: int) -> str:
        """Replace the names in braces by paths and the seed."""
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

    def _step(self, entry: Mapping[str, Any], seed: int) -> Step:
        name = self._full_name(entry['name'], seed)
        folder = self.work_dir / name
        environment = self._environment(seed)
        config = ''
        if 'train' in entry:
            config = config_text(entry['train'], environment)
            command = ['tools/train.py', entry['train'], '--work-dir', str(folder)]
            extra = {'randomness.seed': seed}
            if 'LastCheckpointHook' not in config:
                extra['default_hooks.last_checkpoint.type'] = 'LastCheckpointHook'
            command += self._options(entry, seed, extra)
        else:
            command = [self._fill(str(argument), seed) for argument in entry['command']]
        named = [self._need(need, name, seed) for need in entry.get('needs', [])]
        needs = self._needs([*command, config], named, name)
        if entry.get('shared') and (own := [need for need in needs if need not in self.shared]):
            raise ExperimentError(f'step {name!r} is shared by all seeds, but needs {own}.')
        return Step(
            name=name,
            kind='train' if 'train' in entry else 'command',
            command=tuple(command),
            folder=folder,
            needs=needs,
            config=config,
            environment=environment,
            alone=bool(entry.get('alone', False)),
        )

    def _need(self, need: str, name: str, seed: int) -> str:
        if need not in self.shared or self._full_name(need, seed) not in self.steps:
            raise ExperimentError(f'step {name!r} needs {need!r}, which is not a step before it.')
        return self._full_name(need, seed)

    def _needs(self, texts: Sequence[str], named: Sequence[str], name: str) -> tuple[str, ...]:
        """Return the named steps and those whose folders occur in ``texts``."""
        found = set(named)
        for other in self.steps.values():
            if other.name != name and any(inside(other.folder).search(text) for text in texts):
                found.add(other.name)
        return tuple(sorted(found))

    def _runs(self, row: Mapping[str, Any], seed: int) -> list[RowRun]:
        intervals = row.get('key_intervals', self.key_intervals)
        if row['method'] == 'frame':
            intervals = [None]
        return [self._run(row, seed, interval) for interval in intervals]

    def _run(self, row: Mapping[str, Any], seed: int, interval: int | None) -> RowRun:
        name = f'{self._home(seed)}rows/{row_label(row["name"], interval)}'
        folder = self.work_dir / name
        checkpoint = self._fill(row['checkpoint'], seed)
        command = ['tools/test.py', row['config'], checkpoint, '--method', row['method']]
        command += [] if interval is None else ['--key-interval', str(interval)]
        command += ['--work-dir', str(folder), '--metrics-out', str(folder / 'metrics.json')]
        command += self._rendering(row, seed, interval, folder)
        options = self._options(row, seed, {})
        command += options
        environment = self._environment(seed)
        config = config_text(row['config'], environment)
        if not any(inside(other.folder).search(checkpoint) for other in self.steps.values()):
            config += _state_of(checkpoint)
        step = Step(
            name=name,
            kind='row',
            command=tuple(command),
            folder=folder,
            needs=self._needs([*command, config], [], name),
            config=config,
            environment=environment,
        )
        model = (row['config'], checkpoint, *options)
        group = self.groups.get(row['name'], '')
        return RowRun(row['name'], row['method'], interval, seed, step, model, group)

    def _rendering(
        self, row: Mapping[str, Any], seed: int, interval: int | None, folder: Path
    ) -> list[str]:
        """Return the options with which the evaluation of one row of the first seed writes videos."""
        render = self.render
        if render is None or row['name'] != render['row'] or seed != self.seeds[0]:
            return []
        intervals = row.get('key_intervals', self.key_intervals)
        if interval is not None and interval != render.get('key_interval', intervals[0]):
            return []
        return ['--render', str(folder / 'videos'), '--render-videos', str(render.get('videos', 1))]


def _state_of(path: str) -> str:
    """Return size and time of a file that no step produces, so that a new version is noticed."""
    if not Path(path).is_file():
        return ''
    stat = Path(path).stat()
    return f'{stat.st_size} bytes of {stat.st_mtime_ns}'
