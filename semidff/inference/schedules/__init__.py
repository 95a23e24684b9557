"""Key-frame schedules, registered in ``TASK_UTILS``."""

from .adaptive import AdaptiveSchedule
from .base import KeyFrameSchedule, ScheduleError, build_schedule, schedule_config
from .error_predictor import ErrorPredictor
from .fixed import FixedSchedule
from .scene_cuts import SceneCutSchedule
