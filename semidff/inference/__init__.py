"""Video inference: methods, key-frame schedules and the engine that runs them over videos."""

from .acceleration import Acceleration, accelerate
from .methods import METHODS, MethodError
from .pairs import PairEngine
from .schedules import (
    AdaptiveSchedule,
    ErrorPredictor,
    FixedSchedule,
    KeyFrameSchedule,
    SceneCutSchedule,
    ScheduleError,
    build_schedule,
    schedule_config,
)
from .video_engine import VideoEngine
