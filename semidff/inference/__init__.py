"""Detections for every frame of a video: schedules, methods, the frame-by-frame engine, drawing."""

from .acceleration import AcceleratedDetector, Acceleration, accelerate
from .adaptive import AdaptiveSchedule
from .drawing import class_colour, flow_panel, render_frame
from .engine import METHODS, VideoEngine
from .error_predictor import ErrorPredictor
from .method import MethodError
from .pairs import PairEngine
from .render import ResultRenderer, VideoWriter
from .scene_cuts import SceneCutSchedule
from .schedules import (
    FixedSchedule,
    KeyFrameSchedule,
    ScheduleError,
    build_schedule,
    schedule_config,
)
from .stream_state import StreamState
from .timing import FrameTimer, Lap

__all__ = [
    'METHODS',
    'AcceleratedDetector',
    'Acceleration',
    'AdaptiveSchedule',
    'ErrorPredictor',
    'FixedSchedule',
    'FrameTimer',
    'KeyFrameSchedule',
    'Lap',
    'MethodError',
    'PairEngine',
    'ResultRenderer',
    'SceneCutSchedule',
    'ScheduleError',
    'StreamState',
    'VideoEngine',
    'VideoWriter',
    'build_schedule',
    'accelerate',
    'class_colour',
    'flow_panel',
    'render_frame',
    'schedule_config',
]
