"""Functions and classes for users: a video in, detections out."""

from importlib import import_module
from typing import Any

import semidff.registry  # first: registers all parts

# isort: split
from .detect_together import detect_together
from .video_inferencer import VideoInferencer

__all__ = ['VideoInferencer', 'adapt', 'detect_archive', 'detect_together']
_LATER = dict(adapt='adaptation', detect_archive='archive')


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    """Import what needs training and plots when it is used: inference in a video does not."""
    if name in _LATER:
        return getattr(import_module(f'.{_LATER[name]}', __name__), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
