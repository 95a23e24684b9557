"""Registers the parts of this package, and the scope ``semidff``, in mmdetection's registries.

A config that takes variables from ``_base_ = 'semidff::...'`` marks them with this scope. The parts
themselves are registered in mmdetection's registries, to which a lookup in this scope falls back.
"""

from .compat import quiet  # noqa: F401 (before mmdet is imported)

# isort: split
import mmdet.registry
import mmengine.config.utils
from mmengine.registry import Registry

from . import datasets, engine, evaluation, inference, models  # noqa: F401
from .compat.import_hooks import add_configs

add_configs(mmengine.config.utils)  # if it was imported before this package

# A lookup loads the modules of mmdetection that register parts, as one in scope `mmdet` does.
REGISTRIES = [
    Registry(
        registry.name,
        parent=registry,
        scope='semidff',
        locations=['semidff.registry', *registry._locations],
    )
    for registry in vars(mmdet.registry).values()
    if isinstance(registry, Registry) and registry.scope == 'mmdet'
]
