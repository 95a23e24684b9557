"""Suppression of messages that mmdet and mmengine show at every start and that no user can act on.

Importing this module imports mmdet's data sets, so it has to be imported before them.
"""

import warnings

import mmengine.fileio.file_client
import mmengine.logging

_ONEDL = 'Could not import OneDL. Skipping OneDL datasets.'
"""Printed twice as a debug message: without a logger, mmengine prints messages of every level."""

_print_log = mmengine.logging.print_log


def _without_onedl(message: object, *args: object, **kwargs: object) -> None:
    if message != _ONEDL:
        _print_log(message, *args, **kwargs)


mmengine.logging.print_log = _without_onedl
try:
    import mmdet.datasets  # noqa: F401
finally:
    mmengine.logging.print_log = _print_log

# The only messages of this module report its deprecation, for which mmengine's own CheckpointHook is the cause.
mmengine.fileio.file_client.print_log = lambda *args, **kwargs: None

# mmdet warns of a missing optional metric whenever it imports its metrics; the metric itself reports it when built.
warnings.filterwarnings('ignore', 'faster_coco_eval is not installed')
