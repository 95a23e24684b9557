"""Functions and classes for users: a video in, detections out."""

from .adapt import adapt
from .detect_together import detect_together
from .video_inferencer import VideoInferencer
