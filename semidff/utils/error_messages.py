"""Errors of configs, and messages of errors in place of tracebacks."""

import re
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

_ADDRESS = re.compile(r'<(?:[\w.]+\.)?(\w+) object at 0x[0-9a-f]+>')
_SHOWN = 300  # characters of settings
_NAMES = 4  # names of a list
_LONGEST = 1500  # characters; mmengine quotes whole configs


class ConfigError(ValueError):
    """A config that is missing, or that has no model of the kind that is needed."""


def describe(error: Exception, config: str | None = None) -> str:
    """Return the message of an error.

    Errors of libraries get the config and the types that were being built; their own type, too, where the message
    alone may not be clear.

    Args:
        config: The config file of the tool, if it has one.
    """
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error).strip()
    if text.startswith('Caught '):  # a data worker's error: its traceback, then its message
        text = re.split(r'\n[\w.]+(?:Error|Exception): ', text)[-1]
    text = _ADDRESS.sub(r'\1', text).partition(' Please check whether the value of')[0]
    if type(error).__module__.startswith('semidff.'):  # some quote a log
        return text or type(error).__name__
    text = text if len(text) <= _LONGEST else f'{text[:_LONGEST]}...'
    if text and isinstance(error, OSError):
        return text
    if text and isinstance(error, ValueError) and _is_ours(error):
        return text
    types = built_types(error)
    where = f'{config}: ' if config and (types or not isinstance(error, ValueError)) else ''
    where += f'{" > ".join(types)}: ' if types else ''
    if text and isinstance(error, ValueError):
        return f'{where}{text}'
    name = type(error).__name__
    hint = '--debug shows where it happened'
    return f'{where}{name}: {text}\n{hint}' if text else f'{where}{name} (see --debug)'


def short(value: Any) -> str:
    """Return a value as code, at most 80 characters of it."""
    text = repr(value)
    return text if len(text) <= 80 else f'{text[:77]}...'


def first_names(names: Sequence[str]) -> str:
    """Return the first names of a list as text, and the number of the others."""
    more = f' and {len(names) - _NAMES} more' if len(names) > _NAMES else ''
    return ', '.join(names[:_NAMES]) + more


def count_problems(problems: Mapping[str, Sequence[str]]) -> str:
    """Return the number and the first names of each kind of problem; empty if there is none."""
    return '; '.join(
        f'{len(names)} {kind}: {first_names(names)}' for kind, names in problems.items() if names
    )


def _is_ours(error: BaseException) -> bool:
    """Return whether an error was raised by this package, whose messages are complete."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and str(frames[-1].f_globals.get('__name__')).startswith('semidff.')


def built_types(error: BaseException) -> list[str]:
    """Return the types in the config whose objects were being built when an error occurred, from the outside in.

    The last one has its settings.
    """
    types, settings = [], ''
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == 'build_from_cfg':
            cfg = frame.f_locals.get('cfg')
            cfg = cfg if isinstance(cfg, dict) else {'type': repr(cfg)}
            kind = cfg.get('type')
            types.append(kind if isinstance(kind, str) else getattr(kind, '__name__', repr(kind)))
            settings = ', '.join(f'{k}={v!r}' for k, v in cfg.items() if k != 'type')
    if types:
        types[-1] += f'({settings})' if len(settings) <= _SHOWN else f'({settings[:_SHOWN]}...)'
    return types
