"""semidff: fast video object detection with Deep Feature Flow, learned from unlabeled videos.

Importing the package registers its datasets, models, metrics, hooks and loops in mmdetection's registries, and the
scope ``semidff`` for configs with ``_base_ = 'semidff::...'``.
"""

from .utils import mmcv_operators, quiet  # noqa: F401 (before mmdet is imported)

# isort: split
from . import datasets, engine, evaluation, inference, models, registry
from .version import __version__
