"""Live video with a bounded delay: key frames are detected in a thread of their own, while other frames go on."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import torch
from mmdet.structures import DetDataSample

from semidff.utils.threads import opencv_threads, torch_threads, worker_threads

from .filter_stage import FilterStage, Observation
from .intervals import Frame, Interval, observe
from .video_engine import VideoEngine


def can_be_bounded(engine: VideoEngine) -> bool:
    """Return whether an engine has results for frames while its detector is busy, and can run in two threads."""
    is_causal = not engine.method.needs_next and engine.filter != 'both'
    has_others = engine.schedule.longest > 1 or engine.light_every != 1
    return is_causal and has_others and engine.make_methods(2)


def run_bounded(engine: VideoEngine, batches: Iterable[dict]) -> Iterator[DetDataSample]:
    """Yield the results of a live video, given as collated batches of its frames, none of which waits for the detector.

    Key frames are detected in a second thread, which has three quarters of PyTorch's threads; other frames, and OpenCV,
    have the rest. Results have the metainfo ``key_age``: frames since the last key frame that they depend on.

    A light frame depends on the features of the last key frame that is *finished*. When a detection is done, a copy of
    the filter takes it at its own frame, and then what has been observed since. So tracks are those of an engine that
    has waited for it, but for light frames in between. While the detector is busy, no key frame begins. The first frame
    of a scene waits for its own detection.
    """
    cores = torch.get_num_threads()
    share = max(cores // 4, 1)
    with worker_threads(1, max(cores - share, 1)) as detector, opencv_threads(share):
        video, frames = BoundedVideo(engine, detector), iter(batches)
        while True:
            # Frames are prepared in here, too: threads that wait for those of the detector take 5 times as long.
            with torch_threads(share):
                if (data := next(frames, None)) is None:
                    return
                sample = video.push(data)
            yield sample


@dataclass
class _Detection:
    """A key frame that is detected in the second thread.

    Attributes:
        index: Its index in the stream.
        stage: The filter as it was ahead of the key frame.
        since: What was observed of the frames behind it.
        done: Completed when ``stage`` has taken the key frame, and the frames that had come by then.
    """

    frame: Frame
    index: int
    stage: FilterStage | None
    since: deque[Observation] = field(default_factory=deque)
    done: Future | None = None


class BoundedVideo:
    """A video of :func:`run_bounded`, frame by frame.

    Args:
        engine: An engine for which :func:`can_be_bounded`.
        detector: The second thread.
    """

    def __init__(self, engine: VideoEngine, detector: ThreadPoolExecutor) -> None:
        self._engine, self._detector, self._stream = engine, detector, engine.open()
        self._running: _Detection | None = None
        self._known: Interval | None = None  # that of the last finished key frame
        self._known_index = 0  # of that frame

    @torch.no_grad()
    def push(self, data: dict) -> DetDataSample:
        """Return the result of the next frame."""
        engine, stream = self._engine, self._stream
        if self._running and self._running.done.done():
            self._take_detection(self._running)
        frame = engine.take(stream, data, may_be_key=self._running is None)
        if engine.schedule.observes:
            with engine.free_method() as method:
                observe(method.executor, [frame], [stream])
        if frame.begins_scene:
            result = self._begin_scene(frame)
        else:
            if frame.is_key:
                self._start(frame)
            frame, is_key = self._as_non_key(frame), frame.is_key
            result = None if frame.is_tracked else self._detect(frame)
            if self._running and self._running.stage and not is_key:
                self._running.since.append(Observation.of(frame, result))
        (sample,) = engine.pass_on(stream, [frame], [result])
        sample.set_metainfo(dict(key_age=frame.position))
        return sample

    def _as_non_key(self, frame: Frame) -> Frame:
        """Return a frame as one that depends on the last finished key frame."""
        is_tracked = frame.is_tracked or (frame.is_key and self._engine.light_every != 1)
        flow_field = frame.flow_field if frame.interval is self._known else None
        distance = self._stream.index - self._known_index
        return replace(
            frame,
            interval=self._known,
            position=distance,
            is_tracked=is_tracked,
            flow_field=flow_field,
        )

    def _begin_scene(self, frame: Frame) -> DetDataSample:
        """Detect on the first frame of a scene; what the second thread does for the scene before is not used."""
        self._running, self._known, self._known_index = None, frame.interval, self._stream.index
        return self._detector.submit(self._detect, frame).result()

    def _start(self, frame: Frame) -> None:
        stage = self._stream.stage.fork() if self._engine.filter else None
        self._running = _Detection(frame, self._stream.index, stage)
        self._running.done = self._detector.submit(self._process, self._running)

    @torch.no_grad()
    def _detect(self, frame: Frame) -> DetDataSample:
        with self._engine.free_method() as method:
            return (method.key if frame.is_key else method.non_key)([frame])[0]

    def _process(self, running: _Detection) -> None:
        result = self._detect(running.frame)
        if running.stage:
            running.stage.advance(Observation.of(running.frame, result))
            self._catch_up(running)

    @staticmethod
    def _catch_up(running: _Detection) -> None:
        while running.since:
            running.stage.advance(running.since.popleft())

    def _take_detection(self, running: _Detection) -> None:
        running.done.result()
        if running.stage:
            self._catch_up(running)
            running.stage.take_identities(self._stream.stage)
            self._stream.stage = running.stage
        self._known.release()
        self._running, self._known, self._known_index = None, running.frame.interval, running.index
        self._known.before = None
