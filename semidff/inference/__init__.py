"""Detections for every frame of a video: schedules, methods, the frame-by-frame engine, drawing."""

from .drawing import class_colour, flow_panel, render_frame
from .engine import METHODS, VideoEngine
from .method import MethodError
from .pairs import PairEngine
from .render import ResultRenderer, VideoWriter
from .schedules import FixedSchedule, KeyFrameSchedule
from .stream_state import StreamState
from .timing import FrameTimer, Lap

__all__ = [
    'METHODS',
    'FixedSchedule',
    'FrameTimer',
    'KeyFrameSchedule',
    'Lap',
    'MethodError',
    'PairEngine',
    'ResultRenderer',
    'StreamState',
    'VideoEngine',
    'VideoWriter',
    'class_colour',
    'flow_panel',
    'render_frame',
]
