"""Readers of videos: random access (:func:`open_video`) and sequential access (:func:`open_stream`).

decord provides random access to video files; OpenCV reads everything else. Every failure of a
reader, including decord's errors on truncated, empty or damaged files, is a :class:`VideoError`
that names the file.
"""

from .base import VideoError, VideoReader
from .camera_stream import CameraStream
from .file_stream import FileStream
from .frame_folder import FrameFolderReader, natural_key, read_image
from .pool import ReaderPool, open_stream, open_video
from .stream import ArrayStream, FolderStream, Frame, FrameStream, VideoWarning
from .video_file import DecordReader
