"""Registers the parts of mmsegmentation, an optional dependency; configs name this module in ``custom_imports``."""

import io
from contextlib import redirect_stdout
from importlib import import_module

from .error_messages import ConfigError

try:
    with redirect_stdout(io.StringIO()):  # it prints "Could not import OneDL", as mmdet does
        import_module('mmseg.datasets')
except ImportError as error:
    raise ConfigError(
        f"segmentation needs mmsegmentation ({error}). It is part of the extra 'segmentation', which `make env` "
        'installs; elsewhere: pip install -c requirements.txt onedl-mmsegmentation'
    ) from error
