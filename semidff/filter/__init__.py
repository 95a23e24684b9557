"""Tracks of objects in a video, from detections of any detector on any of its frames.

It needs NumPy, SciPy and OpenCV alone: neither PyTorch nor mmdetection is imported.
"""

from .motion import camera_motion, move_boxes, picture_of
from .tracks import Reliability, Tracked, TrackFilter, combine, report
from .video import VideoFilter, filter_coco
