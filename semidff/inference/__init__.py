"""Video inference: a frame travels through stages, from the source to the outputs."""

from .acceleration import Acceleration, accelerate
from .methods import METHODS, MethodError
from .point import ADAPTIVE, Point
from .schedule import KeyFrameSchedule
from .schedules import (
    AdaptiveSchedule,
    ErrorPredictor,
    FixedSchedule,
    SceneCutSchedule,
    ScheduleError,
    build_schedule,
    schedule_config,
)
from .stages import Stages
