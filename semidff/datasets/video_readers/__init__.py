"""Readers of videos: random access (:func:`open_video`) and sequential access (:func:`open_any`).

PyAV decodes files and addresses, OpenCV reads cameras. Every failure of a reader is a
:class:`VideoError` that names the file.
"""

from .base import Frame, FrameStream, VideoError, VideoReader, VideoWarning
from .frame_folder import FrameFolder, natural_key, read_image
from .live import LiveOptions, LiveStream
from .sources import ArrayStream, open_any, open_video
from .video_file import VideoFile

open_stream = open_any  # name of before 0.3, which programs use
