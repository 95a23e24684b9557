"""Video inference: methods, key-frame schedules and the engine that runs them over videos."""

from .acceleration import Acceleration, accelerate
from .engine import VideoEngine
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
from .stream_state import StreamState
from .timer import FrameTimer, Lap, NoTimer, synchronize, timed
