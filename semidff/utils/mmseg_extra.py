"""Registers the parts of mmsegmentation, an optional dependency; configs name this module in ``custom_imports``."""

from importlib import import_module

from .error_messages import ConfigError

try:
    import_module('mmseg.datasets')
except ImportError as error:
    raise ConfigError(
        f"segmentation needs mmsegmentation ({error}). It is part of the extra 'segmentation', which `make env` "
        'installs; elsewhere: pip install -c requirements.txt onedl-mmsegmentation'
    ) from error
