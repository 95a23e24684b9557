"""Inference over videos with key frames (DFF Algorithm 1): when the intervals of a video are processed, and where."""

import copy
import math
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cached_property
from itertools import chain
from queue import SimpleQueue
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from mmdet.structures import DetDataSample, SampleList
from mmengine.dataset import pseudo_collate
from torch import nn

from semidff.filter import picture_of
from semidff.filter.video import AHEAD
from semidff.utils.model_building import num_classes_of
from semidff.utils.threads import worker_threads

from .executors import Executor, as_executor
from .filter_stage import FILTERS, FilterStage
from .intervals import Frame, Interval, IntervalStream, observe
from .methods import MethodError, Propagate, VideoMethod, method_class, methods_where
from .schedules import KeyFrameSchedule, build_schedule

_LOCKS: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_CREATING = threading.Lock()

_LARGEST_CHUNK = 16
_CHUNK_PIXELS = dict(cpu=2**20, cuda=2**22)
"""Pixels of the network's input in a chunk. Larger chunks are not faster, and take memory."""


_FRAMES_AHEAD = 16
"""Frames of a file for each worker, all of which are in memory. Workers have to wait for the decoder with fewer."""


_LARGEST_AHEAD = 100
"""Frames, as :data:`~semidff.filter.video.AHEAD`, with long or unbounded intervals. Their pictures are in memory."""


class VideoEngine:
    """Detects on every frame of a video, or of several videos at a time.

    Engines may run in several threads. Those that share a detector take turns, since some detectors of mmdet keep
    intermediate results of a frame in themselves (DDQ-DETR: the masks of its queries).

    Args:
        model: A ``VideoDetector``, any mmdet detector for methods without temporal module, or an executor of one. It is
            put into eval mode.
        method: ``propagate`` (temporal module), ``frame`` (spatial module on every frame), ``track`` (boxes of key
            frames, moved by sparse optical flow), ``copy``, ``small`` (spatial module at a smaller input on non-key
            frames), ``interpolate``, ``centered`` (temporal module, from the nearer key frame, offline), ``blend`` (the
            same, with boxes averaged with interpolated ones), ``sff-fast`` or ``sff-slow`` (OpenCV's optical flow).
        key_interval: Key-frame interval l; ``frame`` ignores it.
        schedule: Key-frame schedule or its config; None for a key frame every ``key_interval`` frames.
        keep_fields: Whether propagated results hold their ``feature_flow`` (2, h, w) and ``scale_field`` (1, h, w),
            for visualization; methods that propagate no features ignore it.
        filter: ``causal``: boxes are moved by sparse optical flow on every frame, and corrected by what is detected,
            see :class:`~semidff.filter.TrackFilter`. ``both``: the same with later frames, too, for which results
            wait (40, or two key-frame intervals). ``identities``: results are those of the frame, with
            ``instances_id``; the same as ``causal`` if some frames are tracked. None: results are those of the frame,
            unless some frames are tracked (causal); ``none``: the same, also where a folder recommends a filter.
        light_every: Distance between the non-key frames on which the method detects; the boxes of the others are
            tracked, at a millisecond a frame. 1: on all; 0: on none, as with ``track``.

    Example:
        >>> engine = VideoEngine(model, 'propagate', key_interval=10)
        >>> results = list(engine.run(frames_of_one_video))  # collated test batches of one frame

        Live, without delay, several streams batched together:

        >>> streams = [engine.open() for _ in cameras]
        >>> results = engine.push_batch([camera.read() for camera in cameras], streams)
    """

    def __init__(
        self,
        model: nn.Module | Executor,
        method: str = 'propagate',
        key_interval: int = 10,
        schedule: KeyFrameSchedule | dict | None = None,
        keep_fields: bool = False,
        filter: str | None = None,
        light_every: int = 1,
    ) -> None:
        chosen = method_class(method)
        self.light_every = 0 if chosen.key_only else light_every
        if method == 'frame' and schedule is None:
            self.light_every = 1  # every frame is a key frame
        self.filter = None if filter == 'none' and self.light_every == 1 else filter
        if self.light_every != 1 and filter in (None, 'identities'):
            self.filter = 'causal'
        if self.filter not in (None, *FILTERS) or light_every < 0:
            raise MethodError(f'{filter=}, {light_every=}: give one of {FILTERS}, and 0, 1, 2, ...')
        executor = as_executor(model)
        self.model = model = executor.model.eval()
        options = {'keep_fields': keep_fields} if issubclass(chosen, Propagate) else {}
        self.method: VideoMethod = chosen(executor, **options)
        if self.filter and model.spatial.prediction != 'pred_instances':
            raise MethodError(
                f'the filter tracks boxes, but this model predicts {model.spatial.prediction}'
            )
        self.schedule = build_schedule(schedule or (1 if method == 'frame' else key_interval))
        has_flow = getattr(self.method, 'has_flow', False) and not self.method.needs_next
        if self.schedule.observes and not has_flow:
            able = methods_where(lambda kind: issubclass(kind, Propagate) and not kind.needs_next)
            raise MethodError(
                f'{type(self.schedule).__name__} observes the feature flow, which method {method!r} of this model does '
                f'not have at that point: choose one of {", ".join(able)}, with a temporal module that has a flow'
            )
        self._begin()
        self.reset()

    def _begin(self) -> None:
        """Make what belongs to this process."""
        with _CREATING:
            self.lock = _LOCKS.setdefault(self.model.spatial.detector, threading.RLock())
        self._free: SimpleQueue[VideoMethod] = SimpleQueue()  # for the workers of all runs
        self._made = 0

    def __getstate__(self) -> dict[str, Any]:
        """Leave out locks and workers; a copy has its own."""
        return {k: value for k, value in vars(self).items() if k not in ('lock', '_free', '_made')}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin()

    def pack(self, frame: Any, pipeline: Callable[[dict], dict], **metainfo: Any) -> dict:
        """Return the collated batch of a frame of a reader, with further metainfo of its sample."""
        packed = pipeline(dict(img=frame.image))
        packed['data_samples'].set_metainfo(
            dict(
                metainfo,
                frame_id=frame.index,
                timestamp=frame.timestamp,
                after_gap=frame.after_gap,
                dropped=frame.dropped,
                img_path=frame.path,
                ori_shape=frame.image.shape[:2],
            )
        )
        if self.filter:
            packed['picture'] = picture_of(frame.image)
        if next(self.model.parameters()).is_cuda:
            packed['inputs'] = packed['inputs'].pin_memory()  # for a copy that does not block
        return pseudo_collate([packed])

    @cached_property
    def num_classes(self) -> int:
        """Number of the detector's classes: an RPN has one, but its RoI head has all."""
        detector = self.model.spatial.detector
        return max(num_classes_of(detector).values(), default=getattr(detector, 'num_classes', 1))

    def open(self) -> IntervalStream:
        """Return a new stream; any number of streams can be open."""
        return IntervalStream(self.schedule, self.light_every)

    def reset(self) -> None:
        """Begin a new video in the engine's own stream; results that were not flushed are lost."""
        self.stream = self.open()

    def push(self, data: dict, stream: IntervalStream | None = None) -> SampleList:
        """Process the next frame of a live video.

        A frame of another size than the frame before, or after a scene cut that the schedule finds, becomes a key
        frame, and nothing before it affects the results after it.

        Args:
            data: Collated test batch of one frame: ``inputs``, a list with one uint8 tensor (3, H, W), and
                ``data_samples``, a list with its ``DetDataSample``.
            stream: From :meth:`open`; None for the engine's own.

        Returns:
            Data samples of the results finished so far, in frame order, with ``pred_instances`` (boxes in the
            original image, on the host) and the metainfo ``is_key_frame``. A causal method finishes each frame at
            once.
        """
        return self.push_batch([data], [self.stream if stream is None else stream])[0]

    @torch.no_grad()
    def push_batch(
        self, frames: Sequence[dict], streams: Sequence[IntervalStream]
    ) -> list[SampleList]:
        """Process the next frame of each of several different streams; return the results of each.

        Frames of equal size form one batch.
        """
        if len({id(stream) for stream in streams}) < len(streams):
            raise ValueError('a stream occurs twice in a batch; push its frames one by one')
        with self.lock:
            before = [stream.interval for stream in streams]
            new = [self.take(stream, data) for data, stream in zip(frames, streams, strict=True)]
            found = self._detect_live(new, streams)
            results = []
            for frame, closed, stream in zip(new, before, streams, strict=True):
                finished = [*self._close(closed, stream)] if frame.is_key and closed else []
                if frame in found:
                    finished += self.pass_on(stream, [frame], [found[frame]])
                results.append(finished)
        return results

    @torch.no_grad()
    def flush(self, stream: IntervalStream | None = None) -> SampleList:
        """Return the results of a stream's last frames that :meth:`push` has not returned."""
        stream = self.stream if stream is None else stream
        with self.lock:
            finished = self._close(stream.interval, stream) if stream.interval else []
        return [*finished, *self._end(stream)]

    def run(
        self, batches: Iterable[dict], workers: int = 1, chunk: int | None = None
    ) -> Iterator[DetDataSample]:
        """Yield the results of a file, given as collated batches of its frames, in frame order.

        The non-key frames of an interval are processed as batches, which is faster than one at a time. On a CPU,
        several workers, each with its share of PyTorch's threads, process intervals at the same time: a frame does not
        keep many cores busy, since the threads wait for one another, spinning, at each of some hundred operators.

        Args:
            workers: Number of workers; 1 for a model that is compiled or on a GPU.
            chunk: Largest number of frames of a batch; by default what the device processes fast.
        """
        stream, stopped = self.open(), threading.Event()
        pieces: deque[_Piece] = deque()  # in frame order
        needs_next = self.method.needs_next
        with self._pool(workers) as (submit, observing, ahead):

            def detect_key(frame: Frame) -> _Piece:
                future = submit(self._process, [frame], 1, stopped)
                frame.interval.detected = future
                return _Piece([frame], future)

            def detect_waiting(interval: Interval) -> list[_Piece]:
                frames, interval.waiting = interval.waiting, []
                if not frames:
                    return []
                size = chunk or self._chunk_size(frames[0])
                keys = [interval, interval.after] if needs_next and interval.after else [interval]
                after = [key.detected for key in keys]
                arguments = self._process, frames, size, stopped
                return [_Piece(frames, _run_after(after, submit, *arguments))]

            def finished(most: int) -> Iterator[DetDataSample]:
                while sum(len(piece.frames) for piece in pieces) > most:
                    piece = pieces.popleft()
                    yield from self.pass_on(stream, piece.frames, piece.results.result())

            try:
                for data in batches:
                    closed = stream.interval
                    frame = self.take(stream, data)
                    if self.schedule.observes:
                        observing(self._observe, frame, stream).result()
                    if not frame.is_key:
                        self._wait(frame)
                        if not needs_next and self._enough(frame, chunk):
                            pieces += detect_waiting(frame.interval)
                    elif needs_next:
                        key = detect_key(frame)
                        pieces += [*(detect_waiting(closed) if closed else []), key]
                    else:
                        # Without workers, the key frame before is freed ahead of the next one.
                        pieces += detect_waiting(closed) if closed else []
                        yield from finished(ahead)
                        pieces.append(detect_key(frame))
                    yield from finished(ahead)
                if stream.interval:
                    pieces += detect_waiting(stream.interval)
                yield from finished(0)
                yield from self._end(stream)
            finally:
                stopped.set()  # workers end after their current batch

    def take(self, stream: IntervalStream, data: dict, may_be_key: bool = True) -> Frame:
        """Take the next frame of a stream, see :meth:`IntervalStream.push`, with what the filter needs of it."""
        frame = stream.push(data, may_be_key)
        if self.filter:
            frame.take_picture()
        return frame

    @torch.no_grad()
    def _observe(self, frame: Frame, stream: IntervalStream) -> None:
        observe(self.method.executor, [frame], [stream])

    def _wait(self, frame: Frame) -> None:
        """Keep a non-key frame until it is detected together with others of its interval."""
        if frame.is_tracked:
            frame.data = dict(data_samples=frame.data['data_samples'])
            frame.interval.waiting.append(frame)
        else:
            self.method.wait(frame)

    def _enough(self, frame: Frame, chunk: int | None) -> bool:
        """Return whether the waiting frames of an interval are detected now."""
        waiting = frame.interval.waiting
        if len(waiting) >= (chunk or _LARGEST_CHUNK):
            return True
        return sum(not one.is_tracked for one in waiting) >= (chunk or self._chunk_size(frame))

    def _detect_live(
        self, frames: Sequence[Frame], streams: Sequence[IntervalStream]
    ) -> dict[Frame, DetDataSample | None]:
        """Detect on the next frames of streams, but for those that wait for the next key frame.

        Returns:
            Results by frame, None of a tracked one.
        """
        method, found = self.method, {}
        for frame in frames:
            if frame.is_key and frame.interval.before and not method.needs_next:
                frame.interval.before.release()  # ahead of the memory of the next one
        by_shape = defaultdict(list)
        for frame, stream in zip(frames, streams, strict=True):
            by_shape[frame.shape].append((frame, stream))
        for alike in by_shape.values():
            if self.schedule.observes:
                observe(method.executor, *zip(*alike, strict=True))
            keys = [frame for frame, _ in alike if frame.is_key]
            others = [frame for frame, _ in alike if not frame.is_key]
            if keys:
                found |= zip(keys, method.key(keys), strict=True)
            if method.needs_next:
                for frame in others:
                    self._wait(frame)
            elif others:
                results = self._in_chunks(method.non_key, others, len(others))
                found |= zip(others, results, strict=True)
        return found

    def _close(self, interval: Interval, stream: IntervalStream) -> Iterable[DetDataSample]:
        """Return the results of frames that waited for the end of their interval."""
        frames, interval.waiting = interval.waiting, []
        if not frames:
            return []
        results = self._in_chunks(self.method.non_key, frames, self._chunk_size(frames[0]))
        return self.pass_on(stream, frames, results)

    @torch.no_grad()
    def _process(
        self, frames: list[Frame], size: int, stopped: threading.Event
    ) -> list[DetDataSample | None]:
        """Detect on a key frame, or on non-key frames of an interval, in batches of a size."""
        with self.free_method() as method:
            detect = method.key if frames[0].is_key else method.non_key
            return self._in_chunks(detect, frames, size, stopped)

    def _in_chunks(
        self,
        detect: Callable[[list[Frame]], SampleList],
        frames: list[Frame],
        size: int,
        stopped: threading.Event | None = None,
    ) -> list[DetDataSample | None]:
        """Return the results of frames, None of tracked ones, detected in batches of a size."""
        light, found = [frame for frame in frames if not frame.is_tracked], {}
        for start in range(0, len(light), size):
            if stopped is not None and stopped.is_set():
                break
            chunk = light[start : start + size]
            found |= zip(chunk, detect(chunk), strict=True)
        return [found.get(frame) for frame in frames]

    def pass_on(
        self,
        stream: IntervalStream,
        frames: Sequence[Frame],
        results: Sequence[DetDataSample | None],
    ) -> Iterable[DetDataSample]:
        """Pass results on to the filter, in frame order; return those that are final."""
        interval, finished = frames[0].interval, []
        if self.filter:
            stream.stage = stream.stage or self.new_stage()
            for frame, result in zip(frames, results, strict=True):
                if frame.begins_scene:
                    finished.append(stream.stage.new_scene())
                finished.append(stream.stage.push(frame, result))
        else:
            finished.append(results)
        if frames[0].is_key:
            interval.before = None
        if interval is not stream.interval and frames[-1].position == interval.length - 1:
            interval.release()
        return chain.from_iterable(finished)

    def new_stage(self) -> FilterStage:
        """Return a filter of the results of a stream."""
        ahead = max(AHEAD, min(self.schedule.longest, _LARGEST_AHEAD))
        return FilterStage(self.num_classes, self.filter, ahead)

    def _end(self, stream: IntervalStream) -> Iterable[DetDataSample]:
        """Return the results that the stage after the method holds back."""
        return stream.stage.flush() if stream.stage else []

    def _chunk_size(self, frame: Frame) -> int:
        """Return the number of frames of one size that are processed as a batch."""
        device = next(self.model.parameters()).device.type
        pixels = _CHUNK_PIXELS.get(device, _CHUNK_PIXELS['cpu'])
        return min(_LARGEST_CHUNK, max(1, pixels // math.prod(frame.shape[1:])))

    @contextmanager
    def _pool(
        self, workers: int
    ) -> Iterator[tuple[Callable[..., Future], Callable[..., Future], int]]:
        """Yield two functions that run another one, in a worker and in a thread for the schedule, and the number of
        frames that run ahead of results.
        """
        if workers == 1 or not self.make_methods(workers):
            yield _run_at_once, _run_at_once, 0
            return
        # The workers have the other cores.
        with worker_threads(workers) as pool, worker_threads(1, share=1) as schedule:
            yield pool.submit, schedule.submit, _FRAMES_AHEAD * workers

    def make_methods(self, count: int) -> bool:
        """Make methods for threads of their own; return whether there can be as many."""
        with self.lock:
            for _ in range(self._made, count):
                executor = self.method.executor.independent()
                if executor is None:
                    return False
                method = copy.copy(self.method)
                method.executor = executor
                self._free.put(method)
                self._made += 1
        return True

    @contextmanager
    def free_method(self) -> Iterator[VideoMethod]:
        """Yield a method that no other thread uses."""
        if not self._made:
            with self.lock:
                yield self.method
            return
        method = self._free.get()
        try:
            yield method
        finally:
            self._free.put(method)


class _Piece(NamedTuple):
    """Frames of an interval that are processed together, and their results; None if they are not computed yet."""

    frames: list[Frame]
    results: Future | None


def _run_after(
    futures: list[Future], submit: Callable[..., Future], function: Callable, *arguments: Any
) -> Future:
    """Submit a function once the futures are done, so that no worker waits for another one."""
    result = Future()

    def run() -> None:
        try:
            result.set_result(function(*arguments))
        except BaseException as error:
            result.set_exception(error)

    def step(done: Future | None = None) -> None:
        # That of a key frame, whose own result is taken first and raises the error.
        if done and (done.cancelled() or done.exception()):
            result.cancel()
        elif futures:
            futures.pop(0).add_done_callback(step)
        else:
            try:
                submit(run)
            except RuntimeError:  # the pool is shut down
                result.cancel()

    step()
    return result


def _run_at_once(function: Callable, *arguments: Any) -> Future:
    future = Future()
    future.set_result(function(*arguments))
    return future
