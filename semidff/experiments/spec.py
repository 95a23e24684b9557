"""Experiment configs, and their layout as steps for every seed.

An experiment config is an mmengine config in Python with the variables of
:class:`~semidff.experiments.settings.ExperimentSettings` (docs/experiments.md has an example).

In every string ``{work_dir}``, ``{seed}`` and ``{NAME}`` (the folder of the step NAME, of the same
seed) are replaced. With several seeds each step that is not ``shared`` runs once per seed, in
``work_dir/seed0/NAME``, ``work_dir/seed1/NAME``, ...; with one seed in ``work_dir/NAME``.

Model configs can use ``{{$EXPERIMENT_DIR:default}}`` for the work_dir and ``{{$RUN_DIR:default}}``
for the seed's folder in it. A step depends on the steps that it lists in ``needs`` and on those in
whose folders paths of its arguments or its config lie.

The evaluations (rows) give accuracy. Speed is measured afterwards, without other steps beside it,
by one step that runs the rows of the first seed in turn.
"""

import functools
import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from semidff.utils.setting_checks import read_file

from .experiment import Experiment, RowRun, Step, inside
from .settings import (
    ExperimentError,
    ExperimentSettings,
    RowSettings,
    StepSettings,
    cli_value,
    config_text,
    locate,
    named_detector,
    parse,
)


def load_experiment(
    path: str | Path,
    methods: Collection[str],
    work_dir: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> Experiment:
    """Read and check an experiment config.

    Args:
        methods: Known methods of ``tools/test.py``.
        work_dir: Replaces the config's ``work_dir``.
        cfg_options: Replace settings of the config (``seeds``, ``key_intervals``, ...).

    Raises:
        ExperimentError: If an entry is invalid; the message names it.
        FileNotFoundError: If the config, or a config that it names, does not exist.
    """
    config = read_file(str(locate(path)), import_custom_modules=False)
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
) -> Experiment:
    """Lay out an experiment from the settings of a config.

    Args:
        methods: Known methods of ``tools/test.py``.
        environment: Variables of all processes; None sets ``EXPERIMENT_DIR`` and ``RUN_DIR`` to the
            experiment's own folders.

    Raises:
        ExperimentError: If an entry is invalid; the message names it.
        FileNotFoundError: If a config that it names does not exist.
    """
    parsed = parse(ExperimentSettings, 'the experiment', settings)
    for row in parsed.rows:
        if row.method not in methods:
            raise ExperimentError(
                f'row {row.name!r}: method = {row.method!r}, expected one of {tuple(methods)}.'
            )
    steps: dict[str, Step] = {}
    layouts = [_SeedLayout(parsed, seed, steps, environment) for seed in parsed.seeds]
    for layout in layouts:
        for entry in parsed.steps:
            layout.add_step(entry)
    rows = [run for layout in layouts for row in parsed.rows for run in layout.runs(row)]
    return Experiment(Path(parsed.work_dir), tuple(steps.values()), tuple(rows))


class _SeedLayout:
    """Builder of one seed's steps, which it adds to those of all seeds."""

    def __init__(
        self,
        settings: ExperimentSettings,
        seed: int,
        steps: dict[str, Step],
        environment: Mapping[str, str] | None,
    ) -> None:
        self.settings, self.seed, self.steps = settings, seed, steps
        self.work_dir = Path(settings.work_dir)
        self.home = f'seed{seed}/' if len(settings.seeds) > 1 else ''
        self.names = {e.name: e.name if e.shared else self.home + e.name for e in settings.steps}
        folder, run_dir = str(self.work_dir), str(self.work_dir / self.home)
        own = {'EXPERIMENT_DIR': folder, 'RUN_DIR': run_dir}
        self.environment = own if environment is None else dict(environment)
        # many rows share a config
        self.text_of = functools.cache(lambda path: config_text(path, self.environment))
        self.detector_of = functools.cache(self._detector_of)

    def _detector_of(self, path: str) -> str:
        text = named_detector(self.text_of(path))
        return text and hashlib.sha256(text.encode()).hexdigest()[:16]

    def add_step(self, entry: StepSettings) -> None:
        """Add a training or command; a shared one is added by the first seed."""
        name = self.names[entry.name]
        if name in self.steps:
            return
        folder, config, detector = self.work_dir / name, '', ''
        if entry.train is not None:
            config, detector = self.text_of(entry.train), self.detector_of(entry.train)
            command = ['tools/train.py', entry.train, '--work-dir', str(folder)]
            extra = {'randomness.seed': self.seed}
            if 'LastCheckpointHook' not in config:
                extra['default_hooks.last_checkpoint.type'] = 'LastCheckpointHook'
            command += self._options(extra | entry.cfg_options)
        else:
            command = [self._fill(str(argument)) for argument in entry.command]
        needs = self._needs(name, [*command, config], entry.needs)
        if entry.shared and (own := [need for need in needs if need not in self.names]):
            raise ExperimentError(f'step {name!r} is shared by all seeds, but needs {own}.')
        kind = 'command' if entry.train is None else 'train'
        self.steps[name] = Step(
            name,
            kind,
            tuple(command),
            folder,
            needs,
            config,
            self.environment,
            entry.alone,
            detector,
        )

    def runs(self, row: RowSettings) -> list[RowRun]:
        """Return the evaluations of a row."""
        intervals = row.key_intervals or self.settings.key_intervals
        if row.method == 'frame':
            return [self._run(row, None, render=True)]
        render = self.settings.render
        rendered = render and (render.key_interval or intervals[0])
        return [self._run(row, interval, interval == rendered) for interval in intervals]

    def _run(self, row: RowSettings, interval: int | None, render: bool) -> RowRun:
        label = row.name if interval is None else f'{row.name}/l{interval}'
        name = f'{self.home}rows/{label}'
        folder = self.work_dir / name
        checkpoint = self._fill(row.checkpoint)
        command = ['tools/test.py', row.config, checkpoint, '--method', row.method]
        command += [] if interval is None else ['--key-interval', str(interval)]
        command += ['--work-dir', str(folder), '--metrics-out', str(folder / 'metrics.json')]
        videos, first = self.settings.render, self.settings.seeds[0]
        if videos and render and row.name == videos.row and self.seed == first:
            command += ['--render', str(folder / 'videos'), '--render-videos', str(videos.videos)]
        options = self._options(row.cfg_options)
        command += options
        config = self.text_of(row.config)
        file = Path(checkpoint)
        if not self._needs(name, [checkpoint]) and file.is_file():
            # no step produces it, so a new version is noticed by its size and time
            config += f'{file.stat().st_size} bytes of {file.stat().st_mtime_ns}'
        needs = self._needs(name, [*command, config])
        step = Step(name, 'row', tuple(command), folder, needs, config, self.environment,
                    detector=self.detector_of(row.config))  # fmt: skip
        model = (row.config, checkpoint, *options)
        where = (row.name, row.method, interval, self.seed, label)
        return RowRun(*where, step, model, row.group, row.tables)

    def _filled(self, value: Any) -> Any:
        """Fill the strings in a setting."""
        if isinstance(value, list | tuple):
            return type(value)(map(self._filled, value))
        return self._fill(value) if isinstance(value, str) else value

    def _fill(self, text: str) -> str:
        """Replace the names in braces by paths and the seed."""
        known = {'work_dir': str(self.work_dir), 'seed': str(self.seed)}
        known |= {short: str(self.work_dir / name) for short, name in self.names.items()}

        def value(match: re.Match[str]) -> str:
            if match[1] not in known:
                raise ExperimentError(f'unknown {match[0]} in {text!r}; known are {sorted(known)}.')
            return known[match[1]]

        return re.sub(r'\{([\w.-]+)\}', value, text)

    def _options(self, values: Mapping[str, Any]) -> list[str]:
        values = {**self.settings.cfg_options, **values}
        pairs = [f'{key}={cli_value(key, self._filled(value))}' for key, value in values.items()]
        return ['--cfg-options', *pairs] if pairs else []

    def _needs(self, own: str, texts: Sequence[str], listed: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the listed steps and those whose folders occur in the ``texts`` of the step ``own``."""
        found = {self.names.get(name, name) for name in listed}
        for name in self.names.values():
            folder = inside(self.work_dir / name)
            if name != own and any(folder.search(text) for text in texts):
                found.add(name)
        if missing := sorted(found - self.steps.keys()):
            raise ExperimentError(
                f'step {own!r} needs {missing[0]!r}, which is not a step before it.'
            )
        return tuple(sorted(found))
