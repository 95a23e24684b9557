"""Pictures: frames with boxes, feature flow and scale field, propagation."""

from .frames import class_color, flow_panel, render_frame
from .result_renderer import ResultRenderer

__all__ = ['ResultRenderer', 'class_color', 'flow_panel', 'render_frame']
