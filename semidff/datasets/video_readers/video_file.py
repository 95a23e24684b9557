"""A video file, decoded by decord.

decord's decoding thread reads ahead by as much as time allows. So a damaged packet can fail the
frames *before* it or not, from run to run, and a file's last frames can fail where nothing is
wrong. What decord refuses is therefore decoded again by OpenCV on a single thread, from the key
frame of the stream before it, and there the frames' time stamps tell whether one is missing: which
frames can be read depends on the file alone. (OpenCV's colors may differ from decord's by a
rounding.)
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import decord
import numpy as np
import torch

from .base import VideoError, ascending, check_video_file

# Else FFmpeg writes a line for each damaged macroblock.
decord.logging.set_level(decord.logging.QUIET)
os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')


class _OwnedReader(decord.VideoReader):
    """Frees its decoder only in the process that made it.

    A forked worker may find its parent's readers as garbage; the decoding threads that freeing them
    would join are not there, and the worker would hang or abort.
    """

    def __init__(self, path: str) -> None:
        self._pid = os.getpid()
        super().__init__(path, num_threads=1)

    def __del__(self) -> None:
        if os.getpid() == self._pid:
            super().__del__()


class DecordReader:
    """A video file, decoded on one thread.

    Decoding goes forward from the last key frame of the *stream*, or on from where the last call
    ended; ask for many frames at a time.

    Args:
        path (str | Path): The video file.

    Raises:
        VideoError: The file is missing, empty, not a video, or damaged beyond opening.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._reader: decord.VideoReader | None = self._open()
        self._length = len(self._reader)

    def _open(self) -> decord.VideoReader:
        check_video_file(self.path)
        try:
            return _OwnedReader(self.path)
        except Exception as error:  # decord throws RuntimeError, AssertionError and DECORDError
            reason = f'not a readable video, or truncated ({_short(error, self.path)})'
            raise VideoError(self.path, reason) from None

    def __len__(self) -> int:
        return self._length

    def frames(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Frames ``indices``, see :meth:`VideoReader.frames`."""
        wanted = ascending(self.path, indices, self._length)
        try:
            decoded = self._decode(wanted)
        except Exception:
            self._reader = None  # its decoding thread is dead; free it before the next one
            self._reader = self._open()
            decoded = self._decode_carefully(wanted)
        by_index = dict(zip(wanted, decoded, strict=True))
        return [by_index[int(index)] for index in indices]

    def _decode(self, wanted: list[int]) -> list[np.ndarray]:
        # Not get_batch: it holds all frames three times (batch, numpy copy, BGR copy), and touching
        # that much fresh memory can cost more than decoding does.
        frames = []
        for index in wanted:
            self._reader.seek_accurate(index)
            frame = self._reader.next()
            if not isinstance(frame, torch.Tensor):  # a decord bridge may be set
                frame = torch.utils.dlpack.from_dlpack(frame.to_dlpack())
            frames.append(cv2.cvtColor(frame.numpy(), cv2.COLOR_RGB2BGR))
        return frames

    def _decode_carefully(self, wanted: list[int]) -> list[np.ndarray]:
        """Decodes every frame from the stream's key frame on and checks that none is missing."""
        starts = np.asarray(self._reader.get_key_indices())
        times = np.asarray(self._reader.get_frame_timestamp(range(self._length)))[:, 0]
        tolerance = np.diff(times).min() / 2 if self._length > 1 else np.inf
        capture = cv2.VideoCapture(self.path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)  # decord does not turn frames either
        try:
            position, frames = -1, []
            for index in wanted:
                start = int(starts[starts <= index].max(initial=0))
                if start > position:
                    capture.set(cv2.CAP_PROP_POS_FRAMES, start)
                    position = start
                for number in range(position, index + 1):
                    read, frame = capture.read()
                    time = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                    if not read or abs(time - (times[number] - times[0])) > tolerance:
                        reason = f'cannot decode frame {number}, needed for frame {index}: damaged'
                        raise VideoError(self.path, reason)
                position = index + 1
                frames.append(frame)
            return frames
        finally:
            capture.release()

    def close(self) -> None:
        """Frees the decoder."""
        self._reader = None


def _short(error: Exception, path: str = '') -> str:
    """The telling part of a decord message, without its C++ stack and the file's name."""
    line = str(error).strip().split('\n')[0]
    line = re.sub(r'\[\d+:\d+:\d+\] \S+?: ', '', line)
    if path:
        line = line.replace(f' {path}...', '')
    return f'{type(error).__name__}: {line[:160]}'
