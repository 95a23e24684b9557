"""What users call from Python: any video in, boxes out."""

from .video_inferencer import VideoInferencer

__all__ = ['VideoInferencer']
