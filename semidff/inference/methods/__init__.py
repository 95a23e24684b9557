"""Methods: how detections of key frames and non-key frames are obtained."""

from . import boxes, propagation
from .base import METHODS, MethodError, VideoMethod, method_class, pairwise_methods
