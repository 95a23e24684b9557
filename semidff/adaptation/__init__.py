"""From an image detector and videos to a video detector, without labels."""

from .plan import LEAST_SPEEDUP, Plan, PlanError
from .planner import folder_plan
