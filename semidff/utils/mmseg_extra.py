"""Registers mmsegmentation, an optional dependency, by ``custom_imports`` of configs."""

from importlib import import_module

from .error_messages import ConfigError

try:
    import_module('mmseg.datasets')
except ImportError as error:
    raise ConfigError(
        f"segmentation needs mmsegmentation ({error}). It is part of the extra 'segmentation', "
        'which `make env` installs; elsewhere: pip install -c requirements.txt '
        'onedl-mmsegmentation'
    ) from error
