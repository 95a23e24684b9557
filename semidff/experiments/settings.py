"""Checks of experiment configs, and how their values are read and passed on."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger, print_log

from semidff.utils.deprecation import renamed_method, warn_renamed
from semidff.utils.installed import PROJECT, installed_file

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENT_KEYS = {'work_dir', 'steps', 'rows', 'render', 'key_intervals', 'seeds', 'cfg_options'}
RENDER_KEYS = {'row', 'key_interval', 'videos'}
STEP_KEYS = {'name', 'command', 'train', 'needs', 'minutes', 'cfg_options', 'shared', 'alone'}
ROW_KEYS = {'name', 'config', 'checkpoint', 'method', 'minutes', 'cfg_options', 'key_intervals'}
RESERVED = ('work_dir', 'seed', 'rows', 'logs', 'previous', 'speed', '.', '..')


class ExperimentError(ValueError):
    """An experiment config that cannot be run; the message names the entry and the remedy."""


def check_experiment(settings: Mapping[str, Any], methods: Collection[str]) -> None:
    """Check every entry of an experiment config.

    Args:
        settings: The config's entries.
        methods: Known methods of ``tools/test.py``.

    Raises:
        ExperimentError: If an entry is invalid.
        FileNotFoundError: If a config or script that it names does not exist.
    """
    _check_keys('the experiment', settings, EXPERIMENT_KEYS, {'work_dir', 'steps'})
    steps, rows = settings['steps'], settings.get('rows', [])
    for step in steps:
        _check_step(step)
    for row in rows:
        where = f'row {row.get("name", "?")!r}'
        _check_keys(where, row, ROW_KEYS, {'name', 'config', 'checkpoint', 'method'})
        if renamed_method(row['method']) not in methods:
            raise ExperimentError(
                f'{where}: method = {row["method"]!r}, expected one of {tuple(methods)}.'
            )
        locate(row['config'])
    _check_names(steps, 'step')
    _check_names(rows, 'row')
    if (render := settings.get('render')) is not None:
        _check_keys('render', render, RENDER_KEYS, {'row'})
        names = [row['name'] for row in rows]
        if render['row'] not in names:
            raise ExperimentError(
                f'render: there is no row {render["row"]!r}; the rows are {names}.'
            )
    if any('minutes' in entry for entry in (*steps, *rows)):
        message = "'minutes' of steps and rows is deprecated and has no effect: remove it"
        print_log(message, 'current', logging.WARNING)


def integers(name: str, values: Any, least: int) -> list[int]:
    """Return ``values`` as a list of distinct integers; a single integer gives a list of one.

    Args:
        name: The setting, for the error message.
        values: Its value.
        least: Lower limit of the integers.

    Raises:
        ExperimentError: If a value is not an integer, below the limit or repeated.
    """
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
        path: The config.
        environment: Variables that it may use (``{{$RUN_DIR:...}}``).
    """
    before, logger = dict(os.environ), MMLogger.get_current_instance()
    level = logger.level
    try:
        os.environ.update(environment)
        logger.setLevel('WARNING')  # without a message for each variable; some are printed
        with contextlib.redirect_stdout(io.StringIO()):
            config = Config.fromfile(locate(path), import_custom_modules=False)
    finally:
        logger.setLevel(level)
        os.environ.clear()
        os.environ.update(before)
    if '$CHAIN_DIR' in config.text:
        warn_renamed('variable', 'CHAIN_DIR', 'EXPERIMENT_DIR')
    return json.dumps(config.to_dict(), sort_keys=True, default=str)


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
            raise ExperimentError(f'{kind} name {name!r} is used {names.count(name)} times.')
