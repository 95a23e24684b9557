"""From an image detector and videos to a video detector, without labels."""

from .continuation import folder_plan
from .plan import Plan, PlanError
