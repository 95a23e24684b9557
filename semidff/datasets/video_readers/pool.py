"""Opening of video files and folders of frames, and a pool of open ones."""

import os
from collections import OrderedDict
from pathlib import Path

from .base import DEFAULT_FPS
from .frame_folder import FrameFolder
from .video_file import VideoFile


def open_video(
    path: str | Path, fps: float = DEFAULT_FPS, strict: bool = False
) -> VideoFile | FrameFolder:
    """Open a video file or a folder of images, for random and sequential access.

    Args:
        fps: Frames per second of a folder of images.
        strict: Whether unreadable frames are an error instead of a warning in sequential access.

    Raises:
        VideoError: If it is neither, or cannot be opened.
    """
    return FrameFolder(path, fps, strict) if os.path.isdir(path) else VideoFile(path, strict)


class ReaderPool:
    """Pool of open readers, which closes the least recently used one first.

    Decoders belong to the process that opened them: after a fork the pool is empty.
    """

    def __init__(self, max_open: int = 8) -> None:
        if max_open < 1:
            raise ValueError(f'max_open must be at least 1, got {max_open}')
        self.max_open = max_open
        self._readers: OrderedDict[str, VideoFile | FrameFolder] = OrderedDict()
        self._pid = os.getpid()

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_readers': OrderedDict(), '_pid': None}

    def get(self, path: str) -> VideoFile | FrameFolder:
        """Return the open reader of ``path``, or open it.

        Raises:
            VideoError: If it cannot be opened.
        """
        if self._pid != os.getpid():
            self._readers, self._pid = OrderedDict(), os.getpid()
        if path not in self._readers:
            while len(self._readers) >= self.max_open:
                self._readers.popitem(last=False)[1].close()
            self._readers[path] = open_video(path)
        self._readers.move_to_end(path)
        return self._readers[path]
