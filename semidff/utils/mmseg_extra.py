"""Registers the parts of mmsegmentation, an optional dependency; configs name this module in ``custom_imports``."""

from importlib import import_module

from .setting_checks import ConfigError

try:
    import_module('mmseg.registry')
except ImportError as error:
    raise ConfigError(
        f"segmentation needs mmsegmentation ({error}): pip install 'semidff[segmentation]'"
    ) from error
