"""Methods: how detections of key frames and non-key frames are obtained."""

from . import boxes, focus
from .base import (
    METHODS,
    MethodError,
    VideoMethod,
    method_class,
    methods_where,
    pairwise_methods,
)
from .propagation import Propagate
