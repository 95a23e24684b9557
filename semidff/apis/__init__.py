"""Functions and classes for users: a video in, detections out."""

from typing import Any

import semidff.registry  # first: registers all parts

# isort: split
from .detect_together import detect_together
from .video_inferencer import VideoInferencer


def __getattr__(name: str) -> Any:
    """Import ``adapt`` when it is used: inference needs nothing of training and plots."""
    if name == 'adapt':
        from .adaptation import adapt

        return adapt
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
