"""Registers the parts of mmsegmentation, an optional dependency; configs name this module in ``custom_imports``."""

import io
from contextlib import redirect_stdout
from importlib import import_module

from .setting_checks import ConfigError

try:
    with redirect_stdout(io.StringIO()):  # "Could not import OneDL", as of mmdet
        import_module('mmseg.datasets')
except ImportError as error:
    raise ConfigError(
        f"segmentation needs mmsegmentation ({error}): pip install 'semidff[segmentation]'"
    ) from error
