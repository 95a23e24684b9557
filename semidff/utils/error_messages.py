"""Errors of files and configs, and messages of errors in place of tracebacks."""

import re
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pickle import UnpicklingError
from traceback import extract_tb
from typing import Any

_NAMES = 4  # names of a list
_LONGEST = 1500  # characters; mmengine quotes whole configs


class FileError(ValueError):
    """A file that a tool must not read or write."""


class ConfigError(ValueError):
    """A config that is missing, or that has no model of the kind that is needed."""


def describe(error: BaseException) -> str:
    """Return the message of an error, with its type where the message alone may not be clear."""
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error).strip()
    if text.startswith('Caught '):  # a data worker's error: its traceback, then its message
        text = re.split(r'\n[\w.]+(?:Error|Exception): ', text)[-1]
    if foreign := foreign_object(error):
        return f'a checkpoint was {refusal(foreign)}'
    name = type(error).__name__
    if not text and error.__traceback__:  # as of an assertion, whose code says what is wrong
        place = extract_tb(error.__traceback__)[-1]
        text = f'{place.line} ({place.filename}, line {place.lineno})'
    is_own = type(error).__module__.startswith('semidff.')  # some quote a log
    text = text if is_own or len(text) <= _LONGEST else f'{text[:_LONGEST]}...'
    if text and (is_own or isinstance(error, ValueError | OSError)):
        return text
    return f'{name}: {text}\n--debug shows where it happened' if text else f'{name} (see --debug)'


def foreign_object(error: BaseException) -> str | None:
    """Return what PyTorch refused to unpickle, if that is the error."""
    if not isinstance(error, UnpicklingError):
        return None
    found = re.search(r'GLOBAL (\S+)|unrecognized function (.*)', str(error))
    return found and (found[1] or found[2])


def refusal(foreign: str) -> str:
    """Say why a checkpoint with an object of a class is not loaded, and what helps."""
    package = re.match(r'(\w+)\.', foreign)
    if package and package[1] not in sys.modules and find_spec(package[1]) is None:
        return (
            'refused, because it is the pickled model of a program that is not installed '
            f'({foreign}), not a file of weights; save its state_dict alone'
        )
    return (
        f'refused, because it holds {foreign}, and loading that could run code. If you trust the '
        'file, give --trust (trust=True in Python), or save its state_dict alone'
    )


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
