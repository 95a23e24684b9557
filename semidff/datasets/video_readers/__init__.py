"""Frames of a video by their numbers: video files through decord, folders of images through OpenCV.

Every failure of a reader is a :class:`VideoError` that names the file; whatever decord throws or
returns for truncated, empty or damaged files never reaches the caller.
"""

from semidff.datasets.video_readers.base import VideoError, VideoReader
from semidff.datasets.video_readers.frame_folder import FrameFolderReader, natural_key, read_image
from semidff.datasets.video_readers.pool import ReaderPool, open_video
from semidff.datasets.video_readers.video_file import DecordReader

__all__ = [
    'DecordReader',
    'FrameFolderReader',
    'ReaderPool',
    'VideoError',
    'VideoReader',
    'natural_key',
    'open_video',
    'read_image',
]
