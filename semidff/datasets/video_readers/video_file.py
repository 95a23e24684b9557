"""Random-access reader of a video file, with decord.

decord's decoding thread reads ahead by an amount that depends on timing. A damaged packet can
therefore fail the frames *before* it in some runs, and the last frames of an intact file can fail.
Frames that decord refuses are decoded again by OpenCV on a single thread, from the preceding key
frame of the stream, and their time stamps show whether a frame is missing. Which frames can be read
thus depends on the file only. (OpenCV's colors may differ from decord's by rounding.)
"""

import os
import re
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import cv2
import decord
import numpy as np
import torch

from .base import VideoError, VideoReader, check_video_file
from .container import shown
from .file_stream import capture_of, time_of

# Otherwise FFmpeg prints a line for each damaged macroblock.
decord.logging.set_level(decord.logging.QUIET)


class _OwnedReader(decord.VideoReader):
    """Reader that releases its decoder only in the process that created it.

    A forked worker may collect its parent's readers as garbage. Releasing them would join decoding
    threads that do not exist in the worker, which would hang or abort.
    """

    def __init__(self, path: str) -> None:
        self._pid = os.getpid()
        super().__init__(path, num_threads=1)

    def __del__(self) -> None:
        if os.getpid() == self._pid:
            super().__del__()


class DecordReader(VideoReader):
    """Video file, decoded on one thread. Frames are rotated by the metadata, which OpenCV does.

    Decoding proceeds from the last key frame of the *stream* or from the end of the last call, so
    many frames should be requested at a time.

    Raises:
        VideoError: If the file is missing, empty, not a video, or cannot be opened.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._reader: decord.VideoReader | None = self._open()
        # decord counts frames that an edit list hides, and repeats others for them.
        times = np.asarray(self._reader.get_frame_timestamp(range(len(self._reader))))[:, 0]
        self._shown = np.flatnonzero(shown(times, self.path))
        self._times, self._length = times[self._shown], len(self._shown)

    def _open(self) -> decord.VideoReader:
        check_video_file(self.path)
        path = os.path.abspath(self.path)  # FFmpeg takes what precedes a colon for a protocol
        try:
            return _OwnedReader(path)
        except Exception as error:  # decord raises RuntimeError, AssertionError and DECORDError.
            # Its message without the C++ stack and the file's name.
            line = re.sub(r'\[\d+:\d+:\d+\] \S+?: ', '', str(error).strip().split('\n')[0])
            line = f'{type(error).__name__}: {line.replace(f" {path}...", "")[:160]}'
            reason = f'not a readable video, or truncated ({line})'
            raise VideoError(self.path, reason) from None

    def __len__(self) -> int:
        return self._length

    @cached_property
    def _is_rotated(self) -> bool:
        """Whether OpenCV decodes the video: decord returns garbage for rotated ones, in four channels."""
        capture = capture_of(self.path)
        angle = capture.get(cv2.CAP_PROP_ORIENTATION_META)
        capture.release()
        return angle not in (0, 360)

    def _read(self, wanted: list[int]) -> list[np.ndarray]:
        if not self._is_rotated and self._length == len(self._reader):
            try:
                return self._decode(wanted)
            except Exception:
                self._reader = None  # Its decoding thread is dead.
                self._reader = self._open()
        starts = np.searchsorted(self._shown, self._reader.get_key_indices())
        if self._length < len(self._reader):
            with suppress(VideoError):  # seeking may miss the frame where some are hidden
                return self._decode_carefully(wanted, starts)
            starts = np.zeros(1, int)
        return self._decode_carefully(wanted, starts)

    def _decode(self, wanted: list[int]) -> list[np.ndarray]:
        # get_batch would hold all frames three times (batch, numpy copy, BGR copy), and allocating
        # that much memory can take longer than decoding.
        frames = []
        for index in wanted:
            self._reader.seek_accurate(index)
            frame = self._reader.next()
            if not isinstance(frame, torch.Tensor):  # A decord bridge may be set.
                frame = torch.utils.dlpack.from_dlpack(frame.to_dlpack())
            frames.append(cv2.cvtColor(frame.numpy(), cv2.COLOR_RGB2BGR))
        return frames

    def _decode_carefully(self, wanted: list[int], starts: np.ndarray) -> list[np.ndarray]:
        """Decode every frame from the last of ``starts`` on, the stream's key frames; check that none is missing."""
        times = self._times
        tolerance = np.diff(times).min() / 2 if self._length > 1 else np.inf
        capture = capture_of(self.path)
        position, frames = 0, []
        for index in wanted:
            start = int(starts[starts <= index].max(initial=0))
            if start > position:
                capture.set(cv2.CAP_PROP_POS_FRAMES, start)
                position = start
            for number in range(position, index + 1):
                read, frame = capture.read()
                if not read or abs(time_of(capture) - (times[number] - times[0])) > tolerance:
                    reason = f'cannot decode frame {number}, needed for frame {index}: damaged'
                    raise VideoError(self.path, reason)
            position = index + 1
            frames.append(frame)
        return frames

    def close(self) -> None:
        self._reader = None
