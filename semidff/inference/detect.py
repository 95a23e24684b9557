"""The stage that detects on key and light frames, of a video or of several videos together."""

import copy
import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from mmdet.structures import DetDataSample

from semidff.datasets.video_readers import Frame

from .schedule import KEY, TRACKED

_LARGEST_CHUNK = 16
_CHUNK_PIXELS = dict(cpu=2**20, cuda=2**22)
"""Pixels of the network's input in a chunk. Larger chunks are not faster, and take memory."""


class Stream:
    """A video between its schedule and its results, and its only queue: frames leave it in order.

    Light frames of an interval wait until they fill a chunk, or until the interval ends; with a
    method that needs the next key frame, until that frame comes.

    Args:
        stages: :class:`~semidff.inference.Stages`.
        frames: The frames that leave the schedule.
        submit: Calls ``stages.detect`` with frames, now or later.
        prepare: Calls ``stages.prepare_executor`` with the first frame of a new size.
        ahead: Number of frames that may be submitted ahead of the frame that is handed on; 0:
            frames are detected when they are submitted.
        chunk: Largest number of frames of a batch; 1 for live video, None for what the device
            processes fast. A method that needs the next key frame ignores 1.

    Attributes:
        ended: Whether there are no more frames, or the source has raised an error.
    """

    def __init__(
        self,
        stages: Any,
        frames: Iterator[Frame],
        submit: Callable[[list[Frame]], None],
        prepare: Callable[[Frame], None],
        ahead: int = 0,
        chunk: int | None = None,
    ) -> None:
        self._frames, self._follow = frames, stages.new_follow()
        self._method = method = stages.method
        self._submit, self._prepare, self._ahead = submit, prepare, ahead
        self._chunk = None if chunk == 1 and method.needs_next else chunk
        device = next(method.executor.model.parameters()).device.type
        self._pixels = _CHUNK_PIXELS.get(device, _CHUNK_PIXELS['cpu'])
        self._order: deque[Frame] = deque()
        self._waiting: list[Frame] = []  # light frames that are not submitted
        self._held = 0  # frames at the end of the order that wait, with tracked ones among them
        self._size: tuple | None = None  # of the frames
        self._key: Frame | None = None  # the last key frame
        self._light: Frame | None = None  # the last light frame that was submitted
        self._done: Frame | None = None  # the last key frame that was handed on
        self.ended = False

    def read(self) -> None:
        """Take the next frame."""
        self.ended = True
        try:
            frame = next(self._frames, None)
        except Exception:
            self._end()
            raise
        if frame is None:
            self._end()
        else:
            self._take(frame)
            self.ended = False

    def _end(self) -> None:
        self._flush()
        self._ahead = 0

    def finished(self) -> Iterator[Frame]:
        """Yield the frames whose results are final, in their order."""
        while len(self._order) > self._held + self._ahead:
            frame = self._order.popleft()
            result, frame.done, frame.inputs, frame.trail = frame.done.result(), None, None, None
            frame.sample = frame.sample if result is None else result
            if frame.kind == KEY:
                if self._done:
                    self._done.release()
                self._done, frame = frame, handed_on(frame)
            yield from self._follow.push(frame)
        if self.ended:
            yield from self._follow.flush()

    def _take(self, frame: Frame) -> None:
        frame.done = Future()
        if frame.begins_scene and frame.size != self._size:
            self._size = frame.size
            self._prepare(frame)
        if frame.kind == KEY:
            if self._method.needs_next:
                self._order.append(frame)
                self._submit([frame])
                self._flush(last=frame)
            else:
                self._flush()
                if self._key and not self._ahead:
                    self._key.release()  # ahead of the memory of the next key frame
                self._order.append(frame)
                self._submit([frame])
            self._key = frame
            return
        self._order.append(frame)
        self._held += 1
        if frame.kind == TRACKED:
            frame.done.set_result(None)
        else:
            self._waiting.append(frame)
        if frame.kind == TRACKED or not self._method.reads_pixels:
            frame.inputs = None  # intervals may be long
        if not self._method.needs_next and (
            self._held >= (self._chunk or _LARGEST_CHUNK) or len(self._waiting) >= self._batch()
        ):
            self._flush()

    def _batch(self) -> int:
        """Return the number of frames of a batch."""
        first = self._waiting[0].inputs if self._waiting else None
        if self._chunk or first is None:
            return self._chunk or _LARGEST_CHUNK
        return min(_LARGEST_CHUNK, max(1, self._pixels // math.prod(first.shape[1:])))

    def _flush(self, last: Frame | None = None) -> None:
        """Submit the waiting frames once their key frames are detected."""
        size = self._batch()
        frames, self._waiting, self._held = self._waiting, [], 0
        for start in range(0, len(frames), size):
            batch = frames[start : start + size]
            needed = [self._key, last, self._light if self._method.sequential else None]
            needed = [frame.done for frame in needed if frame and frame.done]
            self._light = batch[-1]
            _after(needed, partial(self._submit, batch))


class Together:
    """Several videos, of which the next frames of one kind and size are a batch.

    Attributes:
        streams: The videos that have not ended.
    """

    def __init__(self, stages: Any) -> None:
        self._stages = stages
        self._tasks: list[list[Frame]] = []
        self.streams: list[Stream] = []

    def open(self, frames: Iterable[Frame]) -> Stream:
        """Add a video, given as its prepared frames."""
        stages = self._stages
        calls = self._tasks.append, stages.prepare_executor
        self.streams.append(Stream(stages, stages.schedule(frames), *calls, chunk=1))
        return self.streams[-1]

    def work(self) -> Iterator[Frame]:
        """Detect on what the videos have read; yield the frames whose results are final."""
        while self._tasks:
            tasks, alike = list(self._tasks), defaultdict(list)
            self._tasks.clear()
            for frames in tasks:
                first = frames[0]
                shape = None if first.inputs is None else first.inputs.shape
                alike[first.kind == KEY, shape, len(frames) > 1 and id(frames)] += frames
            for batch in alike.values():
                self._stages.detect(batch)
        for stream in self.streams:
            yield from stream.finished()
        self.streams = [stream for stream in self.streams if not stream.ended]


@torch.no_grad()
def detect_pairs(frames: Iterable[Frame], stages: Any) -> Iterator[DetDataSample]:
    """Predict each labeled frame i from the key frames i, i - 1, ..., i - l + 1 (DFF section 5.2).

    Only frames that a labeled frame needs become key frames, and only once; at most l frames are
    kept. Where the key frame lies before the first frame of the video, the first frame is the key
    frame.

    Args:
        frames: The frames of a video, whose samples have ``frame_id`` (0-based) and, without
            labels, ``is_labeled=False``.

    Yields:
        The l results of each labeled frame, with the metainfo ``key_distance`` 0 to l - 1.
    """
    method, interval = stages.method, stages.point.key_interval
    last: dict[int, Frame] = {}
    keys: set[int] = set()
    size = None

    def detected(frame: Frame, key: Frame | None) -> DetDataSample:
        sample = frame.sample.new()
        sample.set_metainfo(dict(is_key_frame=key is None))
        twin = replace(frame, sample=sample, key=key)
        (result,) = (method.non_key if key else method.key)([twin])
        if key is None:
            frame.features, frame.detections = twin.features, twin.detections
            keys.add(frame.number)
        return result

    for frame in frames:
        current = frame.number = frame.sample.frame_id
        if frame.size != size:
            size = frame.size
            stages.prepare_executor(frame)
        last = {n: one for n, one in last.items() if n > current - interval} | {current: frame}
        if not frame.sample.get('is_labeled', True):
            continue
        for distance in range(interval):
            number = current - distance
            if number in last:
                if number not in keys:
                    result = detected(last[number], None)
                if distance:
                    result = detected(frame, last[number])
            elif number >= 0:
                raise ValueError(
                    f'frame {current} of video {frame.sample.get("video_name", "?")!r} is labeled, '
                    f"but frame {number} before it is not in the data: protocol 'pairs' needs the "
                    f'{interval - 1} frames before each labeled one; list them in the json with '
                    "is_labeled=false (frame_id counts from 0), or use protocol 'dense'"
                )
            else:
                result = result.new()  # before the first frame: repeat the pair (0, i)
            result.set_metainfo(dict(key_distance=distance))
            yield result


def handed_on(frame: Frame) -> Frame:
    """Return a key frame for later stages; leave in it what its non-key frames need."""
    other = copy.copy(frame)
    other.release()
    frame.image = frame.picture = frame.sample = None
    return other


def _after(futures: list[Future], function: Callable[[], None]) -> None:
    """Call a function once futures are done."""
    if not futures:
        function()
        return
    first, *rest = futures
    first.add_done_callback(lambda _: _after(rest, function))
