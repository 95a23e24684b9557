"""Checks of a chain config's entries, with errors that name the entry and the remedy."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
METHODS = (
    'frame',
    'copy',
    'coast',
    'interpolate',
    'propagate',
    'centered',
    'sff-fast',
    'sff-slow',
)
EXPERIMENT_KEYS = {'work_dir', 'steps', 'rows', 'render', 'key_intervals', 'seeds', 'cfg_options'}
RENDER_KEYS = {'row', 'key_interval', 'videos'}
STEP_KEYS = {'name', 'command', 'train', 'needs', 'minutes', 'cfg_options', 'shared', 'alone'}
ROW_KEYS = {'name', 'config', 'checkpoint', 'method', 'minutes', 'cfg_options', 'key_intervals'}
RESERVED = ('work_dir', 'seed', 'rows', 'logs', 'previous', '.', '..')


class ExperimentError(ValueError):
    """A chain config that cannot be run, with what to change."""


def check_experiment(settings: Mapping[str, Any]) -> None:
    """Checks every entry of the chain's settings.

    Raises:
        ExperimentError: If one cannot be run; the text names the entry.
        FileNotFoundError: If a config or script that it names does not exist.
    """
    _check_keys('the chain', settings, EXPERIMENT_KEYS, {'work_dir', 'steps'})
    for step in settings['steps']:
        _check_step(step)
    for row in settings.get('rows', []):
        _check_row(row)
    _check_names(settings['steps'], 'step')
    _check_names(settings.get('rows', []), 'row')
    _check_render(settings.get('render'), settings.get('rows', []))


def whole_numbers(name: str, values: Any, least: int) -> list[int]:
    """A list of different whole numbers, none below ``least``; a single number is a list of one.

    Raises:
        ExperimentError: If it is not that.
    """
    values = (
        list(values) if isinstance(values, Sequence) and not isinstance(values, str) else [values]
    )
    good = all(isinstance(v, int) and not isinstance(v, bool) and v >= least for v in values)
    if not values or not good or len(set(values)) < len(values):
        raise ExperimentError(
            f'{name} = {values}: expected different whole numbers of at least {least}.'
        )
    return values


def locate(path: str) -> Path:
    """A file named in the chain config: from the current folder, or else from the project's.

    Raises:
        FileNotFoundError: If it is in neither.
    """
    for candidate in (Path(path), ROOT / path):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f'{path} is neither in {Path.cwd()} nor in {ROOT}.')


def config_text(path: str, environment: Mapping[str, str]) -> str:
    """A config's contents with bases and variables resolved; comments and layout do not show.

    Args:
        path: The config.
        environment: Variables that it may use (``{{$RUN_DIR:...}}``).
    """
    from mmengine.config import Config

    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        with silenced():
            config = Config.fromfile(locate(path), import_custom_modules=False)
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
    return json.dumps(config.to_dict(), sort_keys=True, default=str)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keeps back what mmengine tells of every variable that it fills in and file that it loads."""
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('WARNING')
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # some of it is not logged but printed
            yield
    finally:
        logger.setLevel(level)


def cli_value(key: str, value: Any) -> str:
    """A setting in the form in which ``--cfg-options KEY=VALUE`` reads it back.

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
            'a command line.'
        )
    return str(value)


def _check_step(entry: Mapping[str, Any]) -> None:
    where = f'step {entry.get("name", "?")!r}'
    _check_keys(where, entry, STEP_KEYS, {'name'})
    if ('command' in entry) == ('train' in entry):
        raise ExperimentError(f"{where} needs either 'command' or 'train'.")
    if 'train' in entry:
        locate(entry['train'])
        return
    command = entry['command']
    if isinstance(command, str) or not command:
        raise ExperimentError(
            f'{where}: command = {command!r}, expected a list: program, arguments.'
        )
    if 'cfg_options' in entry:
        raise ExperimentError(
            f"{where}: cfg_options are for 'train'; a command has its own arguments."
        )
    if str(command[0]).endswith('.py'):
        locate(command[0])


def _check_row(entry: Mapping[str, Any]) -> None:
    where = f'row {entry.get("name", "?")!r}'
    _check_keys(where, entry, ROW_KEYS, {'name', 'config', 'checkpoint', 'method'})
    if entry['method'] not in METHODS:
        raise ExperimentError(f'{where}: method = {entry["method"]!r}, expected one of {METHODS}.')
    locate(entry['config'])


def _check_render(entry: Mapping[str, Any] | None, rows: Sequence[Mapping[str, Any]]) -> None:
    if entry is None:
        return
    _check_keys('render', entry, RENDER_KEYS, {'row'})
    names = [row['name'] for row in rows]
    if entry['row'] not in names:
        raise ExperimentError(f'render: there is no row {entry["row"]!r}; the rows are {names}.')


def _check_keys(where: str, entry: Mapping[str, Any], known: set[str], required: set[str]) -> None:
    if unknown := sorted(set(entry) - known):
        raise ExperimentError(f'{where} has unknown settings {unknown}; known are {sorted(known)}.')
    if missing := sorted(required - set(entry)):
        raise ExperimentError(f'{where} lacks {missing}.')


def _check_names(entries: Sequence[Mapping[str, Any]], kind: str) -> None:
    names = [entry['name'] for entry in entries]
    for name in names:
        if not re.fullmatch(r'[\w.-]+', name) or name in RESERVED:
            raise ExperimentError(
                f'{kind} name {name!r}: only letters, digits, "_", "-", "."; none of {RESERVED}.'
            )
        if names.count(name) > 1:
            raise ExperimentError(f'{kind} name {name!r} stands there {names.count(name)} times.')
