"""Readers of videos: random access (:func:`open_video`) and sequential access (:func:`open_any`).

PyAV decodes files for both, OpenCV reads cameras and addresses. Every failure of a reader is a :class:`VideoError` that
names the file.
"""

from .base import Frame, FrameStream, VideoError, VideoReader, VideoWarning
from .frame_folder import FrameFolder, natural_key, read_image
from .sources import ArrayStream, CameraStream, open_any, open_video
from .video_file import VideoFile

open_stream = open_any  # former name
