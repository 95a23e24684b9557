"""What users call from Python: any video in, boxes out."""

from .detect_together import detect_together
from .video_inferencer import VideoInferencer

__all__ = ['VideoInferencer', 'detect_together']
