"""Frames of a video: by their numbers (:func:`open_video`), or one after the other (:func:`open_stream`).

By their numbers, video files are read through decord; everything else goes through OpenCV.

Every failure of a reader is a :class:`VideoError` that names the file; whatever decord throws or
returns for truncated, empty or damaged files never reaches the caller.
"""

from .base import VideoError, VideoReader
from .camera_stream import CameraStream
from .file_stream import FileStream
from .frame_folder import FrameFolderReader, natural_key, read_image
from .pool import ReaderPool, open_stream, open_video
from .stream import ArrayStream, FolderStream, Frame, FrameStream, VideoWarning
from .video_file import DecordReader

__all__ = [
    'ArrayStream',
    'CameraStream',
    'DecordReader',
    'FileStream',
    'FolderStream',
    'Frame',
    'FrameFolderReader',
    'FrameStream',
    'ReaderPool',
    'VideoError',
    'VideoReader',
    'VideoWarning',
    'natural_key',
    'open_stream',
    'open_video',
    'read_image',
]
