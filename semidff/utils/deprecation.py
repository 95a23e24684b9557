"""Former names, which keep working for one version."""

import functools
import warnings

from mmengine.registry import Registry

_reported: set[tuple[str, str]] = set()


def warn_renamed(kind: str, old: str, new: str) -> None:
    """Report the use of a former name, once per process."""
    if (kind, old) not in _reported:
        _reported.add((kind, old))
        warnings.warn(f'{kind} {old!r} is deprecated, use {new!r}', FutureWarning, stacklevel=3)


def register_former_name(registry: Registry, old: str, renamed: type) -> None:
    """Register a class under its former name too.

    Args:
        registry: Where the class is registered.
        old: The former name, which configs of users may have.
        renamed: The class.
    """

    @functools.wraps(renamed, updated=())
    def build(*args: object, **kwargs: object) -> object:
        warn_renamed('type', old, renamed.__name__)
        return renamed(*args, **kwargs)

    registry.register_module(name=old, module=build)
