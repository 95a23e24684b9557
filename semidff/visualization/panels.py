"""Panels beside the frames of an annotated video: which are possible."""

from collections.abc import Sequence

from semidff.inference import MethodError, VideoEngine
from semidff.inference.methods import METHODS, method_class

from .frames import PANELS


def check_panels(panels: Sequence[str], method: str, engine: VideoEngine) -> None:
    """Checks that a method's results have what panels show.

    Args:
        panels (Sequence[str]): Names, of :data:`~semidff.visualization.frames.PANELS`.
        method (str): The method's name.
        engine (VideoEngine): An engine with that method.

    Raises:
        MethodError: A panel is unknown or named twice, the method propagates no features, or the
            temporal module has no feature flow or no scale field.
    """
    for name in panels:
        if name not in PANELS:
            raise MethodError(f'unknown panel {name!r}; choose from {", ".join(PANELS)}')
    if len(set(panels)) < len(panels):
        raise MethodError(f'panels {", ".join(panels)}: one is named twice')
    if not panels:
        return
    if not method_class(method).shows_flow:
        able = ', '.join(name for name, m in METHODS.module_dict.items() if m.shows_flow)
        raise MethodError(
            f'method {method!r} propagates no features, so there is nothing for the panels '
            f'{", ".join(panels)} to show: leave them out, or choose one of {able}'
        )
    temporal = engine.method.model.temporal
    if not hasattr(temporal, 'flow_and_scale'):
        raise MethodError(f'{type(temporal).__name__} has no feature flow; leave out the panels')
    if 'scale' in panels and getattr(temporal, 'scale', None) is None:
        raise MethodError(
            f'with method {method!r} features are warped and not scaled; leave out the panel scale'
        )
