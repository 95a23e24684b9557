"""The stages that a frame travels through (DFF Algorithm 1): prepare, schedule, detect, follow."""

import copy
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

import torch
from mmdet.structures import DetDataSample
from torch import nn

from semidff.datasets.video_readers import Frame
from semidff.filter import picture_of
from semidff.filter.video import AHEAD
from semidff.utils.threads import opencv_threads, torch_threads, worker_threads

from .bounded import detect_bounded
from .detect import Stream, Together, detect_pairs
from .executors import Executor, as_executor
from .follow import Follow
from .methods import MethodError, VideoMethod, method_class, pairwise_methods
from .point import Point
from .schedule import KEY, LIGHT, KeyFrameSchedule, schedule
from .schedules import build_schedule

_FRAMES_AHEAD = 16
"""Frames of a file in memory for each worker. With fewer, workers wait for the decoder."""

_LARGEST_AHEAD = 100
"""Most frames, as :data:`~semidff.filter.video.AHEAD`: their pictures are in memory."""


class Stages:
    """The stages of a video detector at an operating point; each is a generator of frames.

    Any number of videos may run at a time, in several threads. They take turns with the detector,
    since some detectors of mmdet keep intermediate results of a frame in themselves (DDQ-DETR: the
    masks of its queries).

    Args:
        model: A ``VideoDetector``, any mmdet detector for methods without temporal module, or an
            executor of one. It is put into eval mode.
        point: Method, key-frame interval, light frames and filter; scale, runtime and precision are
            those of what the test pipeline and ``model`` are.
        schedule: Key-frame schedule or its config; None for a key frame every
            ``point.key_interval`` frames.
        keep_fields: Whether propagated results hold their ``feature_flow`` (2, h, w) and
            ``scale_field`` (1, h, w), for visualization; methods that propagate no features ignore
            it.
        filters: Whether results are filtered, as the point says.

    Example:
        >>> stages = Stages(model, Point('propagate', key_interval=10))
        >>> for frame in stages.run(stages.prepare(open_any('street.mp4'), frame_pipeline(config))):
        ...     frame.index, frame.image, frame.sample.pred_instances
    """

    def __init__(
        self,
        model: nn.Module | Executor,
        point: Point | None = None,
        schedule: KeyFrameSchedule | dict | None = None,
        keep_fields: bool = False,
        filters: bool = True,
    ) -> None:
        self.point = point = point or Point()
        kind, executor = method_class(point.method), as_executor(model)
        self._arguments = executor, point, schedule, keep_fields, filters
        self._filter = point.filter if filters else None
        self.model = executor.model.eval()
        options = dict(keep_fields=keep_fields) if kind.propagates else {}
        self.method: VideoMethod = kind(executor, **options)
        self._free: SimpleQueue[VideoMethod] = SimpleQueue()  # methods that no thread uses
        self._free.put(self.method)
        self._made = 1
        if point.filter and self.model.spatial.prediction != 'pred_instances':
            raise MethodError(
                f'the filter tracks boxes, but this model predicts {self.model.spatial.prediction}'
            )
        self.rule = build_schedule(schedule or point.key_interval)

    def __reduce__(self) -> tuple:
        return Stages, self._arguments

    def prepare(
        self, frames: Iterable[Frame], pipeline: Callable[[dict], dict], **metainfo: Any
    ) -> Iterator[Frame]:
        """Run the test pipeline on frames, and set further metainfo of their samples."""
        for frame in frames:
            packed = pipeline(dict(img=frame.image))
            frame.inputs, frame.sample = packed['inputs'], packed['data_samples']
            frame.sample.set_metainfo(
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
            if self.point.filter:
                frame.picture = picture_of(frame.image)
            if next(self.model.parameters()).is_cuda:
                frame.inputs = frame.inputs.pin_memory()  # for a copy that does not block
            yield frame

    def schedule(self, frames: Iterable[Frame], **options: Any) -> Iterator[Frame]:
        """Set the kind of prepared frames, see :func:`~semidff.inference.schedule.schedule`."""
        return schedule(frames, self.rule, self.point.light_every, **options)

    def run(
        self, frames: Iterable[Frame], workers: int = 1, chunk: int | None = None
    ) -> Iterator[Frame]:
        """Yield the prepared frames of a video with their results, in frame order.

        A frame's ``sample`` is its result: ``pred_instances`` (boxes in the original image, on the
        host) or ``pred_sem_seg``, and the metainfo ``is_key_frame`` and ``frame_kind``. The non-key
        frames of an interval are processed as batches, which is faster than one at a time. On a
        CPU, several workers, each with its share of PyTorch's threads, process intervals at the
        same time: more threads for a frame would mostly wait for one another. An error is raised
        at its frame.

        Args:
            workers: Number of workers; 1 for a model that is compiled or on a GPU.
            chunk: Largest number of frames of a batch; by default what the device processes fast;
                1 for live video, whose frames have their results at once, unless the method needs
                later frames.
        """
        error = None
        with self._workers(workers) as calls:
            stream = Stream(self, self.schedule(frames), *calls, chunk)
            while not stream.ended:
                try:
                    stream.read()
                except Exception as raised:
                    error = raised  # behind the results of the frames ahead of it
                yield from stream.finished()
        if error:
            raise error

    def run_bounded(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield the frames of a live video with their results, which wait for no detector.

        Key frames are detected in a second thread, which has three quarters of PyTorch's threads;
        other frames, and OpenCV, have the rest. See
        :func:`~semidff.inference.bounded.detect_bounded`.
        """
        self.make_methods(2)
        cores = torch.get_num_threads()
        share = max(cores // 4, 1)
        with worker_threads(1, max(cores - share, 1)) as detector, opencv_threads(share):
            run = detect_bounded(frames, self, detector)
            while True:
                # Frames are prepared in here, too: threads that wait for the detector's are slow.
                with torch_threads(share):
                    if (frame := next(run, None)) is None:
                        return
                yield frame

    @property
    def can_be_bounded(self) -> bool:
        """Whether frames have results while the detector is busy, and it can run in two threads."""
        has_others = self.rule.longest > 1 or self.point.light_every != 1
        return self.point.is_causal and has_others and self.make_methods(2)

    def run_pairs(self, frames: Iterable[Frame]) -> Iterator[DetDataSample]:
        """Yield the results of protocol *pairs*, see :func:`.detect.detect_pairs`."""
        if self.point.method not in (able := pairwise_methods()):
            raise MethodError(
                f'method {self.point.method!r} depends on all frames since the key frame, but '
                f"protocol 'pairs' predicts from two frames: choose one of {', '.join(able)}, or "
                "protocol 'dense'"
            )
        return detect_pairs(frames, self)

    def together(self) -> Together:
        """Return the detection of several videos with a frame of each in a batch."""
        return Together(self)

    def new_follow(self) -> Follow:
        """Return the last stage of a stream."""
        ahead = max(AHEAD, min(self.rule.longest, _LARGEST_AHEAD))
        method = self.method
        return Follow(method.num_classes, self._filter, ahead, method.light_weights)

    @torch.no_grad()
    def detect(self, frames: list[Frame]) -> None:
        """Detect on key frames, or on non-key frames, of one size; complete ``done`` of each."""
        start = time.perf_counter()
        try:
            with self._free_method() as method:
                function = method.key if frames[0].kind == KEY else method.non_key
                results = function(frames)
        except BaseException as error:
            for frame in frames:
                frame.done.set_exception(error)
            return
        for frame, result in zip(frames, results, strict=True):
            frame.seconds = (time.perf_counter() - start) / len(frames)
            frame.done.set_result(result)

    @torch.no_grad()
    def prepare_executor(self, frame: Frame) -> None:
        """Let the executor prepare for frames of this size, before workers see them."""
        has_fields = getattr(self.method, 'keep_fields', False)
        has_light = self.rule.longest > 1 and self.point.light_every != 0 and not has_fields

        @torch.no_grad()
        def predict(executor: Executor) -> None:
            method = copy.copy(self.method)
            method.executor = executor
            key = replace(first, kind=KEY, key=None, sample=first.sample.clone())
            light = replace(first, kind=LIGHT, key=key)
            method.rehearse(key, light if has_light else None)

        first = replace(frame, sample=frame.sample.clone())  # the frame itself is used meanwhile
        first.sample.set_metainfo(dict(frame_id=-1))  # remembered as no frame of the video
        with self._free_method() as method:
            method.executor.prepare((type(method), has_light, frame.size), predict)

    @contextmanager
    def _workers(self, count: int) -> Iterator[tuple[Callable, Callable, int]]:
        """Yield what detects and prepares, and how many frames are submitted ahead."""
        if count == 1 or not self.make_methods(count):
            yield self.detect, self.prepare_executor, 0
            return
        with worker_threads(count) as pool:

            def submit(frames: list[Frame]) -> None:
                with suppress(RuntimeError):  # the pool is shut down
                    pool.submit(self.detect, frames)

            def prepare(frame: Frame) -> None:
                pool.submit(self.prepare_executor, frame).result()

            yield submit, prepare, _FRAMES_AHEAD * count

    def make_methods(self, count: int) -> bool:
        """Make methods for as many threads; return whether there can be so many."""
        while self._made < count:
            with self._free_method() as method:
                executor = method.executor.independent()
            if executor is None:
                return False
            other = copy.copy(self.method)
            other.executor = executor
            self._free.put(other)
            self._made += 1
        return True

    @contextmanager
    def _free_method(self) -> Iterator[VideoMethod]:
        """Yield a method that no other thread uses."""
        method = self._free.get()
        try:
            yield method
        finally:
            self._free.put(method)
