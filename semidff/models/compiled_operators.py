"""Modules of detectors that run compiled operators of mmcv."""

import functools
import sys

import mmcv.ops
from mmdet.models.roi_heads.roi_extractors.base_roi_extractor import BaseRoIExtractor
from torch import nn

# Compiled operators that modules call as functions.
_FUNCTIONS = {
    id(value) for value in vars(mmcv.ops).values() if getattr(value, '__name__', '') == 'apply'
}


@functools.cache
def uses_compiled_operators(kind: type[nn.Module]) -> bool:
    """Return whether modules of a class are operators of mmcv, or may call one as a function.

    They may if the file that defines the class imports one by its name.
    """
    # An extractor's layers are mmcv's as a rule, and its inputs are all the maps.
    if issubclass(kind, BaseRoIExtractor):
        return True
    for cls in kind.__mro__:
        if cls.__module__.startswith('mmcv.ops.'):
            return True
        names = vars(sys.modules[cls.__module__])
        if any(id(value) in _FUNCTIONS for value in names.values()):
            return True
    return False
