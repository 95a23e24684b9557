"""Video inference: a frame travels through stages, from the source to the outputs."""

from .acceleration import Acceleration, accelerate
from .methods import METHODS, MethodError
from .point import Point
from .schedule import KeyFrameSchedule
from .schedules import (
    FixedSchedule,
    SceneCutSchedule,
    ScheduleError,
    build_schedule,
)
from .stages import Stages
