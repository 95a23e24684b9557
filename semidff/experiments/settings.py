"""Entries of experiment configs with their checks, and how values are read and passed on."""

import contextlib
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from mmengine.logging import MMLogger

from semidff.utils.image_detectors import read_detector
from semidff.utils.installed import PROJECT, installed_file
from semidff.utils.setting_checks import ConfigError, read_file

ROOT = Path(__file__).resolve().parents[2]
RESERVED = ('work_dir', 'seed', 'rows', 'logs', 'previous', 'speed', '.', '..')
Entry = TypeVar('Entry')


class ExperimentError(ValueError):
    """An experiment config that cannot be run; the message names the entry and the remedy."""


@dataclass
class StepSettings:
    """An entry of ``steps``: a training or a command."""

    name: str
    command: Sequence[Any] | None = None
    train: str | None = None
    needs: Sequence[str] = ()
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    shared: bool = False
    alone: bool = False

    def __post_init__(self) -> None:
        where, command = f'step {self.name!r}', self.command
        if (command is None) == (self.train is None):
            raise ExperimentError(f"{where} needs either 'command' or 'train'.")
        if self.train is not None:
            return
        if isinstance(command, str) or not command:
            raise ExperimentError(
                f'{where}: command = {command!r}, expected a list: program, arguments.'
            )
        if self.cfg_options:
            raise ExperimentError(
                f"{where}: cfg_options are for 'train'; a command has its own arguments."
            )
        if str(command[0]).endswith('.py'):
            locate(command[0])


@dataclass
class RowSettings:
    """An entry of ``rows``: a checkpoint that is tested with a method at every key interval.

    Rows of one group share a detector: they are compared with the group's *frame* and *copy*.
    ``tables`` has the paper's mAP in percent, or None, for each table of a paper that the row is in.
    """

    name: str
    config: str
    checkpoint: str
    method: str
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    key_intervals: Sequence[int] | None = None
    group: str = ''
    tables: Mapping[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.key_intervals is not None:
            name = f'row {self.name!r}: key_intervals'
            self.key_intervals = _integers(name, self.key_intervals, least=1)
        if ',' in f'{self.config}{self.checkpoint}':
            raise ExperimentError(
                f'row {self.name!r}: config and checkpoint must have no commas in their names, which separate the '
                'parts of a row whose speed is measured.'
            )
        figures = self.tables.values() if isinstance(self.tables, Mapping) else ['']
        if not all(value is None or isinstance(value, int | float) for value in figures):
            raise ExperimentError(
                f'row {self.name!r}: tables = {self.tables!r}, expected a dict with the mAP in '
                "percent, or None, for each table, e.g. {'3a': 57.51}."
            )


@dataclass
class RenderSettings:
    """The row whose evaluation with the first seed writes videos."""

    row: str
    key_interval: int | None = None
    videos: int = 1

    def __post_init__(self) -> None:
        _integers('render: videos', self.videos, least=1)


@dataclass
class ExperimentSettings:
    """An experiment config. Entries are given as dictionaries and become dataclasses."""

    work_dir: str
    steps: Sequence[Any]
    rows: Sequence[Any] = ()
    render: Any = None
    key_intervals: Any = 10
    seeds: Any = 0
    cfg_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if ',' in str(self.work_dir):
            raise ExperimentError(
                f'work_dir = {str(self.work_dir)!r}: commas separate the parts of a row whose speed is measured; give '
                'another work_dir.'
            )
        for key in ('steps', 'rows'):
            if isinstance(value := getattr(self, key), str) or not isinstance(value, Sequence):
                raise ExperimentError(f'{key} = {value!r}: expected a list of dicts.')
            if wrong := [entry for entry in value if not isinstance(entry, Mapping)]:
                raise ExperimentError(f'{key} has {wrong[0]!r}: expected a dict.')
        self.steps = [parse(StepSettings, 'step', entry) for entry in self.steps]
        self.rows = [parse(RowSettings, 'row', entry) for entry in self.rows]
        names = [row.name for row in self.rows]
        for kind, used in (('step', [step.name for step in self.steps]), ('row', names)):
            for name in used:
                valid = re.fullmatch(r'(?!speed-)[\w.-]+', str(name))
                if not valid or name in RESERVED:
                    raise ExperimentError(
                        f'{kind} name {name!r}: only letters, digits, "_", "-", "."; '
                        f'none of {RESERVED}, nor "speed-..."'
                    )
                if used.count(name) > 1:
                    raise ExperimentError(f'{kind} name {name!r} is used {used.count(name)} times.')
        if self.render is not None:
            self.render = parse(RenderSettings, 'render', self.render)
            if self.render.row not in names:
                raise ExperimentError(
                    f'render: there is no row {self.render.row!r}; the rows are {names}.'
                )
        self.seeds = _integers('seeds', self.seeds, least=0)
        self.key_intervals = _integers('key_intervals', self.key_intervals, least=1)


def parse(kind: type[Entry], where: str, entry: Mapping[str, Any]) -> Entry:
    """Build a dataclass from an entry of a config, whose keys are the dataclass's fields.

    Raises:
        ExperimentError: If a key is unknown or missing, or the entry is no dict.
    """
    if not isinstance(entry, Mapping):
        raise ExperimentError(f'{where} is {entry!r}; expected a dict.')
    where += f' {entry.get("name", "?")!r}' if where in ('step', 'row') else ''
    known = {item.name: item for item in fields(kind)}
    if unknown := sorted(set(entry) - set(known)):
        raise ExperimentError(f'{where} has unknown settings {unknown}; known are {sorted(known)}.')
    required = (n for n, f in known.items() if f.default is f.default_factory is MISSING)
    if missing := sorted(set(required) - set(entry)):
        raise ExperimentError(f'{where} lacks {missing}.')
    return kind(**entry)


def _integers(name: str, values: Any, least: int) -> list[int]:
    """Return ``values`` as a list of distinct integers; a single integer gives a list of one."""
    single = isinstance(values, str) or not isinstance(values, Sequence)
    values = [values] if single else list(values)
    valid = all(isinstance(v, int) and not isinstance(v, bool) and v >= least for v in values)
    if not values or not valid or len(set(values)) < len(values):
        raise ExperimentError(f'{name} = {values}: expected distinct integers of at least {least}.')
    return values


def locate(path: str) -> Path:
    """Find a file that an experiment config names, in the current folder or in the package.

    Raises:
        FileNotFoundError: If it is in neither.
    """
    found = Path(installed_file(path))
    if not found.is_file():
        raise FileNotFoundError(f'{path} is neither in {Path.cwd()} nor in {PROJECT}.')
    return found


def config_text(path: str, environment: Mapping[str, str]) -> str:
    """Return a config with bases and variables resolved as JSON; comments and layout are ignored.

    Args:
        environment: Variables that it may use (``{{$RUN_DIR:...}}``).
    """
    before, logger = dict(os.environ), MMLogger.get_current_instance()
    level = logger.level
    try:
        os.environ.update(environment)
        logger.setLevel('WARNING')  # without a message for each variable; some are printed
        with contextlib.redirect_stdout(io.StringIO()):
            config = read_file(str(locate(path)), import_custom_modules=False)
    finally:
        logger.setLevel(level)
        os.environ.clear()
        os.environ.update(before)
    return json.dumps(config.to_dict(), sort_keys=True, default=str, ensure_ascii=False)


def named_detector(text: str) -> str:
    """Return the model of the config that :func:`config_text` names as ``model.detector``, as JSON.

    It is empty if none is named, or if it does not exist yet.
    """
    name = (json.loads(text).get('model') or {}).get('detector')
    if not isinstance(name, str):
        return ''
    try:
        model = read_detector(name, warn=False).model
    except ConfigError:
        return ''
    return json.dumps(model.to_dict(), sort_keys=True, default=str)


def cli_value(key: str, value: Any) -> str:
    """Format a setting such that ``--cfg-options KEY=VALUE`` reads it back unchanged.

    Raises:
        ExperimentError: If the command line has no form for it.
    """
    if isinstance(value, list | tuple):
        inner = ','.join(cli_value(key, item) for item in value)
        return f'[{inner}]' if isinstance(value, list) else f'({inner})'
    if isinstance(value, Mapping):
        raise ExperimentError(
            f'cfg_options {key!r} = {value}: write one dotted key for each value.'
        )
    if isinstance(value, str) and re.search(r'[\s,\[\]()]', value):
        raise ExperimentError(
            f'cfg_options {key!r} = {value!r}: blanks, commas and brackets do not survive '
            'a command line; if they are those of work_dir, give another work_dir.'
        )
    return str(value)
