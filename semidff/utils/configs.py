"""Config files."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from threading import RLock
from typing import Any

from mmengine.config import Config

from .error_messages import ConfigError
from .files import installed_file

# CPython 3.11 and 3.12 count the depth of a syntax tree for all threads together.
_parsing = RLock()


def read_config(path: str | Path, cfg_options: dict | None = None, **options: bool) -> Config:
    """Read a config file.

    Args:
        path: The file, see :func:`~semidff.utils.files.installed_file`.
        options: Arguments of ``Config.fromfile``.
    """
    path = installed_file(path)
    if not Path(path).is_file():
        raise ConfigError(f'{path}: there is no such config')
    try:
        with _parsing:
            config = Config.fromfile(path, **options)
        if config._imported_names:  # a pure Python config: dotted names in place of its classes
            config = Config(config.to_dict(), filename=config.filename)
            for key, value in settings_of(config):
                if key.endswith('.nms') and 'type' in (value or ()):  # mmcv evaluates the bare name
                    value['type'] = value['type'].rpartition('.')[2]
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # whatever the code of the config raises
        raise ConfigError(f'{path}: is no config ({type(error).__name__}: {error})') from error
    config.merge_from_dict(cfg_options or {})
    return config


def import_extras(settings: Any) -> None:
    """Import mmsegmentation if a config, or a part of a config, uses its scope."""
    for key, value in settings_of(settings):
        kind = key.rpartition('.')[2] in ('type', '_scope_', 'default_scope')
        if kind and str(value).partition('.')[0] == 'mmseg':
            import_module('semidff.utils.mmseg_extra')


def settings_of(value: Any, key: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys and values of nested dicts, lists and tuples."""
    if key:
        yield key, value
    items: Any = ()
    if isinstance(value, dict | Config):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    for name, item in items:
        yield from settings_of(item, f'{key}.{name}' if key else str(name))
