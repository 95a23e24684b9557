"""Experiments: their configs, laid out as steps and evaluations for every seed (docs/experiments.md has an example).

In every string ``{work_dir}``, ``{seed}`` and ``{NAME}`` (the folder of the step NAME, of the same seed) are replaced.
A step needs the steps that it names in this way and those that it lists as ``needs``.

With several seeds each step that is not ``shared`` runs once per seed, in ``work_dir/seed0/NAME``,
``work_dir/seed1/NAME``, ...; with one seed in ``work_dir/NAME``. Model configs can use ``{{$EXPERIMENT_DIR:default}}``
for the work_dir and ``{{$RUN_DIR:default}}`` for the seed's folder in it.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from semidff.utils.checkpoint import detector_digest
from semidff.utils.configs import read_config
from semidff.utils.files import installed_file

REPORTS = ('table', 'curve', 'distances')
_BRACES = re.compile(r'\{([\w.-]+)\}')


class ExperimentError(ValueError):
    """An experiment config that cannot be run; the message names the entry."""


@dataclass(frozen=True)
class Step:
    """A process with everything that its result depends on.

    Attributes:
        name: Unique name, with the seed's folder where there are several seeds (``seed0/flow``).
        kind: 'train' (can be resumed), 'row' (evaluation), 'speed' (measurement) or 'command'.
        command: The program and its arguments, without the interpreter.
        config: The model config; empty if there is none.
        checkpoint: A checkpoint that no step writes; empty if there is none.
        alone: Whether no other step may run at the same time.
    """

    name: str
    kind: str
    command: tuple[str, ...]
    folder: Path
    needs: tuple[str, ...] = ()
    config: str = ''
    checkpoint: str = ''
    environment: tuple[tuple[str, str], ...] = ()
    alone: bool = False


@dataclass(frozen=True)
class Row:
    """An entry of ``rows``: a checkpoint that is tested with a method at every key interval.

    Attributes:
        group: Name that rows with the same detector share: they are compared with the group's *frame* and *copy*.
        tables: The paper's mAP in percent, or None, for each table of a paper that the row is in.
    """

    name: str
    config: str
    checkpoint: str
    method: str
    needs: Sequence[str] = ()
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    key_intervals: int | Sequence[int] | None = None
    group: str = ''
    tables: Mapping[str, float | None] = field(default_factory=dict)

    def label(self, key_interval: int | None) -> str:
        """Return the name and the key-frame interval."""
        return self.name if key_interval is None else f'{self.name}/l{key_interval}'


@dataclass(frozen=True)
class Evaluation:
    """Test of a row at one key-frame interval (None for *frame*, which has none) with one seed's weights."""

    row: Row
    key_interval: int | None
    seed: int
    step: Step

    @property
    def label(self) -> str:
        return self.row.label(self.key_interval)


@dataclass(frozen=True)
class Experiment:
    """Steps of an experiment, each after those that it needs.

    Attributes:
        work_dir: Folder of all results.
        steps: Trainings and commands.
        evaluations: The evaluations of all rows; their steps are not among ``steps``.
        report: 'table', 'curve' (accuracy over speed) or 'distances' (accuracy at each distance from the key frame,
            without speed).
        result: Markdown file, written by a step, of which the first section is printed at the end; empty if none.
    """

    work_dir: Path
    steps: tuple[Step, ...]
    evaluations: tuple[Evaluation, ...]
    report: str = 'table'
    result: str = ''

    def rows_of(self, tables: Collection[str]) -> list[str]:
        """Return the names of the rows that are in one of some tables, and of those that they are compared with."""
        rows = {e.row.name: e.row for e in self.evaluations}.values()
        known = {table for row in rows for table in row.tables}
        if unknown := sorted(set(tables) - known):
            raise ExperimentError(f'no row is in table {unknown[0]!r}; there are {sorted(known)}')
        groups = {row.group for row in rows if set(tables) & row.tables.keys()}
        return [
            row.name
            for row in rows
            if set(tables) & row.tables.keys()
            or (row.group in groups and row.method in ('frame', 'copy'))
        ]

    def speed_file(self, group: str) -> Path:
        """Return the file with the speeds of a group's rows."""
        return self.work_dir / (f'speed-{group}' if group else 'speed') / 'speed.json'

    def speed_steps(self, evaluated: Collection[Evaluation]) -> list[Step]:
        """Return the steps that measure the speed of evaluated rows of the first seed, one for each group."""
        groups: dict[str, list[Evaluation]] = {}
        for one in evaluated if self.report != 'distances' else ():
            if one.seed == self.evaluations[0].seed:
                groups.setdefault(one.row.group, []).append(one)
        steps = []
        for group, members in groups.items():
            file = self.speed_file(group)
            command = ['tools/analysis/speed.py', '--rounds', '10', '--out', str(file)]
            configs: dict[tuple[str, ...], Path] = {}
            for one in members:
                checkpoint, options = one.step.command[2], str(one.row.cfg_options)
                # An evaluation writes its config there, with all options merged. Rows of one model share the file.
                own = one.step.folder / Path(one.row.config).name
                config = configs.setdefault((one.row.config, checkpoint, options), own)
                row = f'{one.label}={config},{checkpoint},{one.row.method},{one.key_interval or 1}'
                command += ['--row', row]
            needs, variables = tuple(e.step.name for e in members), members[0].step.environment
            step = Step(file.parent.name, 'speed', tuple(command), file.parent, needs)
            steps.append(replace(step, environment=variables, alone=True))
        return steps


def load_experiment(
    path: str | Path,
    methods: Collection[str],
    work_dir: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> Experiment:
    """Read an experiment config and lay it out.

    Args:
        methods: Known methods of ``tools/test.py``.
        work_dir: Replaces the config's ``work_dir``.
        cfg_options: Replace settings of the config (``seeds``, ``key_intervals``, ...).
    """
    config = read_config(path, import_custom_modules=False)
    config.merge_from_dict(dict(cfg_options or {}))
    # names with an underscore are the config's own helpers
    settings = {k: v for k, v in config.to_dict().items() if not k.startswith('_')}
    settings |= {} if work_dir is None else {'work_dir': work_dir}
    return _call(_lay_out, path, methods=methods, **settings)


def _lay_out(
    methods: Collection[str],
    work_dir: str,
    steps: Sequence[Mapping[str, Any]] = (),
    rows: Sequence[Mapping[str, Any]] = (),
    render: Mapping[str, Any] | None = None,
    key_intervals: int | Sequence[int] = 10,
    seeds: int | Sequence[int] = 0,
    cfg_options: Mapping[str, Any] | None = None,
    report: str = 'table',
    result: str = '',
) -> Experiment:
    """Lay out an experiment from the settings of a config, which docs/experiments.md explains."""
    for kind, entries in (('step', steps), ('row', rows)):
        names = [str(entry.get('name')) for entry in entries]
        for name in names:
            if not re.fullmatch(r'[\w.-]*[\w-]', name) or names.count(name) > 1:
                raise ExperimentError(
                    f'{kind} name {name!r}: must be unique, of letters, digits, "_", "-" and "."'
                )
    parsed = [_call(Row, f'row {row["name"]}', **row) for row in rows]
    seeds = _integers('seeds', seeds, least=0)
    methods = {f'row {row.name}: method': (row.method, tuple(methods)) for row in parsed}
    shown = {'render: row': (render['row'], [row.name for row in parsed])} if render else {}
    for what, (value, known) in {'report': (report, REPORTS), **methods, **shown}.items():
        if value not in known:
            raise ExperimentError(f'{what} = {value!r}, expected one of {known}')
    every: dict[str, Step] = {}
    evaluations: list[Evaluation] = []
    for seed in seeds:
        home = f'seed{seed}/' if len(seeds) > 1 else ''
        names = {e['name']: e['name'] if e.get('shared') else home + e['name'] for e in steps}
        layout = _Seed(Path(work_dir), seed, home, names, dict(cfg_options or {}), every)
        for entry in steps:
            if seed == seeds[0] or not entry.get('shared'):
                _call(layout.add_step, f'step {entry["name"]}', **entry)
        for row in parsed:
            intervals = _integers('key_intervals', row.key_intervals or key_intervals, least=1)
            shown = render if render and render['row'] == row.name and seed == seeds[0] else None
            settings = dict(row=row, intervals=intervals, render=shown)
            evaluations += _call(layout.evaluate, f'row {row.name}', **settings)
    result = layout._fill(result)  # of the last seed
    return Experiment(Path(work_dir), tuple(every.values()), tuple(evaluations), report, result)


@dataclass
class _Seed:
    """One seed of an experiment that is laid out.

    Attributes:
        home: Its folder in the experiment's.
        names: Names of the steps with the seed's folder.
        steps: Those of all seeds so far.
    """

    work_dir: Path
    seed: int
    home: str
    names: Mapping[str, str]
    cfg_options: Mapping[str, Any]
    steps: dict[str, Step]

    def add_step(
        self,
        name: str,
        command: Sequence[Any] = (),
        train: str = '',
        needs: Sequence[str] = (),
        cfg_options: Mapping[str, Any] | None = None,
        shared: bool = False,
        alone: bool = False,
    ) -> None:
        """Add a training or command; the arguments are the settings of an entry of ``steps``."""
        if bool(command) == bool(train) or isinstance(command, str) or (command and cfg_options):
            raise ExperimentError("needs either 'command', a list, or 'train' with its cfg_options")
        name = self.names[name]
        options = {'randomness.seed': self.seed, **self.cfg_options, **(cfg_options or {})}
        options['default_hooks.last_checkpoint.type'] = 'LastCheckpointHook'
        needs = self._needs(name, needs, options if train else command)
        if shared and (own := [need for need in needs if need not in self.names]):
            raise ExperimentError(f'is shared by all seeds, but needs {own}')
        if train:
            folder = str(self.work_dir / name)
            command = ['tools/train.py', train, '--work-dir', folder, *self._options(options)]
        else:
            command = [self._fill(str(argument)) for argument in command]
        kind = 'train' if train else 'command'
        self.steps[name] = self._step(name, kind, command, needs, train, alone=alone)

    def evaluate(
        self, row: Row, intervals: Sequence[int], render: Mapping[str, Any] | None
    ) -> list[Evaluation]:
        """Return the evaluations of a row."""
        found, options = [], {**self.cfg_options, **row.cfg_options}
        for interval in [None] if row.method == 'frame' else intervals:
            name = f'{self.home}rows/{row.label(interval)}'
            folder = self.work_dir / name
            checkpoint = self._fill(row.checkpoint)
            command = ['tools/test.py', row.config, checkpoint, '--method', row.method]
            command += [] if interval is None else ['--key-interval', str(interval)]
            command += ['--work-dir', str(folder), '--metrics-out', str(folder / 'metrics.json')]
            command += ['--overwrite']  # of an interrupted run
            if render and interval in (None, render.get('key_interval') or intervals[0]):
                videos = str(render.get('videos', 1))
                command += ['--render', str(folder / 'videos'), '--render-videos', videos]
            command += self._options(options)
            needs = self._needs(name, row.needs, [row.checkpoint, options])
            foreign = '' if needs else checkpoint
            step = self._step(name, 'row', command, needs, row.config, checkpoint=foreign)
            found.append(Evaluation(row, interval, self.seed, step))
        return found

    def _step(
        self,
        name: str,
        kind: str,
        command: Sequence[str],
        needs: Sequence[str],
        config: str,
        **more: Any,
    ) -> Step:
        if config and not Path(installed_file(config)).is_file():
            raise ExperimentError(f'there is no config {config}')
        own = {'EXPERIMENT_DIR': self.work_dir, 'RUN_DIR': self.work_dir / self.home}
        # Without steps, the configs refer to another experiment, whose folders the user may have set.
        more['environment'] = tuple((k, str(value)) for k, value in own.items() if self.names)
        return Step(name, kind, tuple(command), self.work_dir / name, tuple(needs), config, **more)

    def _needs(self, own: str, listed: Sequence[str], texts: Any) -> list[str]:
        """Return the full names of the steps that are listed, and of those named in braces in ``texts``."""
        named = [name for name in _BRACES.findall(str(texts)) if name in self.names]
        found = {self.names.get(name, name) for name in (*listed, *named)} - {own}
        if missing := sorted(found - self.steps.keys()):
            raise ExperimentError(f'needs {missing[0]!r}, which is not a step before it')
        return sorted(found)

    def _fill(self, value: Any) -> Any:
        """Replace the names in braces by paths and the seed, in lists too."""
        if isinstance(value, list | tuple):
            return type(value)(map(self._fill, value))
        if not isinstance(value, str):
            return value
        known = {name: str(self.work_dir / full) for name, full in self.names.items()}
        known |= {'work_dir': str(self.work_dir), 'seed': str(self.seed)}
        if unknown := set(_BRACES.findall(value)) - known.keys():
            raise ExperimentError(f'unknown {unknown} in {value!r}; known are {sorted(known)}')
        return _BRACES.sub(lambda match: known[match[1]], value)

    def _options(self, values: Mapping[str, Any]) -> list[str]:
        pairs = [f'{key}={cli_value(key, self._fill(value))}' for key, value in values.items()]
        return ['--cfg-options', *pairs] if pairs else []


def cli_value(key: str, value: Any) -> str:
    """Format a setting such that ``--cfg-options KEY=VALUE`` reads it back unchanged."""
    if isinstance(value, list | tuple):
        inner = ','.join(cli_value(key, item) for item in value)
        return f'[{inner}]' if isinstance(value, list) else f'({inner})'
    if isinstance(value, Mapping) or re.search(r'[\s,\[\]()]', str(value)):
        raise ExperimentError(
            f'cfg_options {key!r} = {value!r}: --cfg-options cannot express blanks, commas, brackets and dicts; use '
            'one dotted key for each value, or another work_dir'
        )
    return str(value)


def load_runs(
    runs: Sequence[str],
    methods: Collection[str],
    work_dir: str,
    key_intervals: Sequence[int] | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    distances: bool = False,
) -> Experiment:
    """Lay out the evaluations of runs ``NAME=CONFIG,CHECKPOINT[,METHOD]``; *frame* is added for each distinct detector.

    Detectors are the same if their weights and test data are.

    Args:
        methods: Known methods of ``tools/test.py``.
        cfg_options: Settings that replace those of every model config.
        distances: Whether to report accuracy at each distance from the key frame instead of accuracy over speed.
    """
    rows: list[tuple[str, dict[str, Any]]] = []
    # names of files may have commas
    form = re.compile(r'([^=]+)=(.+?\.\w+),(.+?)(?:,([\w-]+))?')
    for run in runs:
        if not (match := form.fullmatch(run)):
            raise ExperimentError(f'--run {run}: expected NAME=CONFIG,CHECKPOINT[,METHOD]')
        name, config, checkpoint, method = match.groups()
        row = dict(name=name, config=config, checkpoint=checkpoint, method=method or 'propagate')
        content = read_config(config, import_custom_modules=False)
        data = [content.get(key) for key in ('test_dataloader', 'test_evaluator')]
        rows.append((f'{data} {detector_digest(checkpoint)}', row))
    with_frame = {detector for detector, row in rows if row['method'] == 'frame'}
    frames: dict[str, dict[str, Any]] = {}
    for detector, row in rows:
        if detector not in with_frame:
            # The first is always named 'frame', so that its evaluation is kept when runs are added.
            name = f'frame-{row["name"]}' if frames else 'frame'
            frames.setdefault(detector, dict(row, name=name, method='frame'))
    rows = [*frames.items(), *rows]
    groups: dict[str, str] = {}  # named after their first row; the first has no name
    for detector, row in rows:
        row['group'] = groups.setdefault(detector, row['name'] if groups else '')
    settings = dict(cfg_options or {})
    if distances:
        settings['test_cfg.protocol'] = 'pairs'
    return _lay_out(
        methods,
        work_dir,
        rows=[row for _, row in rows],
        key_intervals=key_intervals or ([10] if distances else [1, 2, 5, 10, 15, 20]),
        cfg_options=settings,
        report='distances' if distances else 'curve',
    )


def _call(make: Any, what: str | Path, **settings: Any) -> Any:
    """Call a function with the settings of an entry, which its error names."""
    try:
        return make(**settings)
    except (ExperimentError, TypeError) as error:
        raise ExperimentError(f'{what}: {error}') from error


def _integers(name: str, values: Any, least: int) -> list[int]:
    """Return ``values`` as a list of distinct integers; a single integer gives a list of one."""
    values = list(values) if isinstance(values, list | tuple) else [values]
    if not values or not all(type(v) is int and v >= least for v in values):
        raise ExperimentError(f'{name} = {values}: expected integers of at least {least}')
    return list(dict.fromkeys(values))
