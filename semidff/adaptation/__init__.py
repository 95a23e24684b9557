"""From an image detector and videos to a video detector, without labels."""

from .plan import Plan, PlanError
