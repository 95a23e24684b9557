"""semidff: fast video object detection with Deep Feature Flow, learned from unlabeled videos.

:mod:`semidff.registry` registers the datasets, models, metrics, hooks and loops in mmdetection's
registries. Importing the package does so at once where mmengine has been imported before, as by
``custom_imports`` of a config, and otherwise at the first lookup in mmdetection's registries, so
that the tools, which import it first, answer at once. Configs with ``_base_ = 'semidff::...'`` can
be read from then on.
"""

import sys

from .compat.import_hooks import FirstImport, OperatorFinder
from .version import __version__

sys.meta_path.append(OperatorFinder)
sys.meta_path.insert(0, FirstImport)
if 'mmengine' in sys.modules:
    from . import registry
