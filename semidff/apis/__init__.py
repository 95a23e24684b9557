"""Functions and classes for users: a video in, detections out."""

import semidff.registry  # first: registers all parts

# isort: split
from .adapt import adapt
from .detect_together import detect_together
from .video_inferencer import VideoInferencer
