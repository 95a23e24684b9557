"""Former names, which keep working for one version."""

import functools
import re
from pathlib import Path

from mmengine.registry import Registry

from .logs import log_warning

FORMER_FILES = (
    (r'configs/quickstart/_base_/dff_chain\.py', 'configs/quickstart/_base_/dff_experiment.py'),
    (r'configs/quickstart/_base_/world\.py', 'configs/quickstart/_base_/data.py'),
    (r'configs/(quickstart|person)/chain([\w-]*)\.py', r'configs/\1/experiment\2.py'),
    (r'configs/quickstart/([\w-]+)_world\.py', r'configs/quickstart/\1_synthetic.py'),
    (r'tools/make_world\.py', 'tools/make_synthetic.py'),
)


@functools.cache
def warn_renamed(kind: str, old: str, new: str) -> None:
    """Report the use of a former name in one line, once per process."""
    message = f'{kind} {old!r} is deprecated and will be removed in the next version: use {new!r}'
    log_warning(message)


def renamed_file(path: str) -> str:
    """Return the current path of a config or tool that is given by its former path.

    A path that exists, and one that is not a former path, is returned unchanged.
    """
    if Path(path).exists():
        return path
    for old, new in FORMER_FILES:
        current = re.sub(rf'(?<![\w.-]){old}$', new, path)
        if current != path:
            warn_renamed('file', path, current)
            return current
    return path


def register_former_name(registry: Registry, old: str, renamed: type, **arguments: str) -> None:
    """Register a class under its former name too.

    Args:
        registry: The registry of ``renamed``.
        old: The former name, which configs of users may have.
        renamed: The class.
        **arguments: Renamed arguments of the class: their names by their former names.
    """

    @functools.wraps(renamed, updated=())
    def build(*args: object, **kwargs: object) -> object:
        warn_renamed('type', old, renamed.__name__)
        return renamed(*args, **{arguments.get(key, key): kwargs[key] for key in kwargs})

    registry.register_module(name=old, module=build)


def renamed_method(name: str) -> str:
    """Return the current name of a video method; a former name is reported as deprecated."""
    if name == 'centred':
        warn_renamed('method', name, 'centered')
        return 'centered'
    return name
