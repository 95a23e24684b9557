"""Intervals, the unit of video inference: a key frame and the frames up to the next one."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from mmdet.structures import DetDataSample, SampleList
from torch import Tensor

from semidff.filter import picture_of
from semidff.models.key_frame import FlowField, KeyFrame
from semidff.models.video_detector import VideoDetector
from semidff.utils.frame_size import frame_size

from .executors import Executor
from .frame_times import FrameTimes


@dataclass(eq=False)
class Interval:
    """A key frame, and what is kept of it for the frames up to the next key frame.

    Attributes:
        before, after: Neighbors in the same scene; None without one, and as soon as results no longer depend on it.
        length: Distance from its key frame to the next one; so far, to the frame behind the last one.
        waiting: Non-key frames that are not detected yet.
        image: Input of the temporal module, if the schedule observes the flow.
        detected: Completed when the key frame is, if it runs in another thread.
        features: Features of the key frame, for methods that propagate them.
        detections: Predictions on the key frame, for methods that repeat or move them.
    """

    before: 'Interval | None' = None
    after: 'Interval | None' = None
    length: int = 0
    waiting: 'list[Frame]' = field(default_factory=list)
    image: Tensor | None = None
    detected: Future | None = None
    features: KeyFrame | None = None
    detections: Any = None

    def release(self) -> None:
        """Forget what later intervals do not need, once all frames are detected."""
        self.features = self.detections = self.image = self.after = None


@dataclass(eq=False)
class Frame:
    """A frame of a stream.

    Attributes:
        data: Its collated test batch, before the data preprocessor.
        shape: Shape of its input (3, H, W).
        position: Distance to the key frame of its interval; 0 for the key frame.
        is_tracked: Whether nothing is detected on it; the filter moves the boxes of before.
        picture: Gray picture in which boxes are moved, if the results are filtered.
        flow_field: Its flow field, if the schedule observed it.
    """

    data: dict
    shape: tuple[int, ...]
    interval: Interval
    position: int
    is_tracked: bool = False
    picture: np.ndarray | None = None
    flow_field: FlowField | None = None

    @property
    def sample(self) -> DetDataSample:
        return self.data['data_samples'][0]

    @property
    def is_key(self) -> bool:
        return self.position == 0

    def take_picture(self) -> None:
        """Set the picture: that in the data, or that of the network's input, not larger than the original."""
        if 'picture' in self.data:
            self.picture = self.data['picture'][0]
            return
        height, width = frame_size(self.sample)
        image = self.data['inputs'][0][:, :height, :width].permute(1, 2, 0)
        self.picture = picture_of(image.cpu().numpy().astype(np.uint8))
        original = self.sample.ori_shape[:2]
        if min(original) < min(self.picture.shape):
            self.picture = cv2.resize(self.picture, original[::-1], interpolation=cv2.INTER_AREA)

    @property
    def begins_scene(self) -> bool:
        """Whether nothing before this frame affects it."""
        return self.is_key and self.interval.before is None


def to_device(model: VideoDetector, frames: Sequence[Frame]) -> tuple[Tensor, SampleList]:
    """Return frames of one size as a batch (N, 3, H, W) on the device, and their data samples."""
    inputs = [frame.data['inputs'][0] for frame in frames]
    return model.preprocess(inputs, [frame.sample for frame in frames])


class KeyFrameSchedule(ABC):
    """Decides, causally and frame by frame, which frames are key frames.

    A schedule is stateless: what it has to remember of a stream is in its ``notes``. The first frame of a stream,
    the first frame of another size and the frame after a cut or a gap in time are always key frames; all memory begins
    anew with them.
    """

    observes = False  # observe() is called with the flow field of each non-key frame
    longest: float = math.inf  # frames from one key frame to the next, at most

    @abstractmethod
    def is_key(self, stream: 'IntervalStream', data: dict) -> bool:
        """Return whether the next frame of a stream is a key frame; not called for those that always are.

        The stream is as before the frame: ``stream.distance`` is the frame's distance to the last key frame. ``data``
        is its collated test batch, before the data preprocessor.
        """

    def is_cut(self, stream: 'IntervalStream', data: dict) -> bool:
        """Return whether the next frame begins another scene; called ahead of :meth:`is_key`, with its arguments."""
        return False

    def observe(self, stream: 'IntervalStream', flow_field: FlowField) -> None:  # noqa: B027 (optional)
        """Take the flow field (N = 1) of a non-key frame."""

    def note_key(self, stream: 'IntervalStream', data: dict) -> None:  # noqa: B027 (optional)
        """Take a key frame; called for every one, with the arguments of :meth:`is_key`."""


class IntervalStream:
    """Divides the frames of a video into intervals, and notes what its schedule and the stage after the method need.

    Its size is constant, but for frames that wait for later ones.

    Args:
        light_every: Non-key frames at multiples of this distance from their key frame, or the next ones if these were
            dropped, are light frames, on which something is detected; the others are tracked. 0: all are tracked.

    Attributes:
        index: Index of the last frame, -1 at first. Frames that a live source dropped count (metainfo ``dropped``), as
            they do in ``distance``.
        distance: Distance of the last frame to its key frame. While the schedule decides, both are those of the next
            frame, which may become a key frame itself; its distance is 0 if it begins a scene.
        notes: State of the schedule.
        interval: The interval of the last frame.
        stage: State of the stage after the method.
    """

    def __init__(self, schedule: KeyFrameSchedule, light_every: int = 1) -> None:
        self.schedule, self.light_every = schedule, light_every
        self.index, self.distance = -1, 0
        self.notes: dict[str, Any] = {}
        self.interval: Interval | None = None
        self.stage: Any = None
        self._size: tuple | None = None
        self._times = FrameTimes()

    def push(self, data: dict, may_be_key: bool = True) -> Frame:
        """Return the next frame, given its collated test batch; without ``may_be_key``, key frames begin scenes only.

        A frame of another size than the one before, after a gap in time (its metainfo may have ``timestamp`` and
        ``after_gap``, see :class:`FrameTimes`), or after a scene cut that the schedule finds, begins a new scene.
        """
        if len(data['data_samples']) != 1:
            raise ValueError(
                f'a batch with {len(data["data_samples"])} frames, but videos are processed frame by frame: set '
                'batch_size=1 in the data loader'
            )
        sample = data['data_samples'][0]
        shape = tuple(data['inputs'][0].shape)
        size = shape, tuple(sample.get('ori_shape', ()))
        dropped = sample.get('dropped', 0)
        step = 1 + dropped
        self.index += step if self.interval else 1
        self.distance += step if self.interval else 0
        is_other = self._times.push(sample.get('timestamp'), sample.get('after_gap'), dropped)
        is_other |= size != self._size
        if self.distance and (is_other or self.schedule.is_cut(self, data)):
            self.distance, self.notes = 0, {}
        self._size = size
        is_key = self.distance == 0 or (may_be_key and self.schedule.is_key(self, data))
        if is_key:
            self.schedule.note_key(self, data)
            before = self.interval if self.distance else None
            self.interval = Interval(before)
            if before:
                before.after, before.length = self.interval, self.distance
            self.distance = 0
        every = self.light_every
        is_light = every and self.distance // every > (self.distance - step) // every
        frame = Frame(data, shape, self.interval, self.distance, not (is_key or is_light))
        self.interval.length = self.distance + 1
        kind = 'key' if is_key else 'tracked' if frame.is_tracked else 'light'
        sample.set_metainfo({'is_key_frame': is_key, 'frame_kind': kind})
        return frame


def observe(executor: Executor, frames: Sequence[Frame], streams: Sequence[IntervalStream]) -> None:
    """Compute the flow fields of the next frames of streams, all of one size, and let the schedules observe them.

    A schedule decides about the next frame with them, ahead of the detection: of key frames, the image is enough.
    """
    model = executor.model
    for is_key in (True, False):
        chosen = [pair for pair in zip(frames, streams, strict=True) if pair[0].is_key == is_key]
        if not chosen:
            continue
        inputs, _ = to_device(model, [frame for frame, _ in chosen])
        if is_key:
            images = model.key_image(inputs).split(1)
            for (frame, _), image in zip(chosen, images, strict=True):
                frame.interval.image = image
            continue
        keys = [KeyFrame(frame.interval.image, ()) for frame, _ in chosen]
        flow_field = executor.flow_field(inputs, KeyFrame.batch(keys))
        for index, (frame, stream) in enumerate(chosen):
            frame.flow_field = flow_field.frame(index)
            stream.schedule.observe(stream, frame.flow_field)
