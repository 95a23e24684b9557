"""Base class of the methods, and their registry."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property

from mmdet.structures import SampleList
from mmengine.registry import Registry
from torch import Tensor

from semidff.checkpoints.building import num_classes_of
from semidff.datasets.video_readers import Frame
from semidff.filter.tracks import LIGHT_WEIGHTS
from semidff.inference.executors import Executor

METHODS = Registry('video method', locations=['semidff.inference.methods'])
"""Methods by the name that configs and tools use."""


class MethodError(ValueError):
    """An unknown method, or one that the given model does not support."""


class VideoMethod(ABC):
    """A way to obtain detections for all frames of a video, on key frames and on non-key frames.

    A method keeps nothing, so that it serves any number of videos at a time: what non-key frames
    need is in the key frame to which they point. :meth:`key` and :meth:`non_key` take a batch of
    frames of one size, of one interval or of several, and return a result for each.
    """

    uses_temporal = False  # the model's own temporal module runs, so that its weights are required
    needs_next = False  # non-key frames need the next key frame (offline)
    key_only = False  # nothing is detected on non-key frames, which are tracked
    needs_boxes = False  # the method moves boxes, so that a model has to predict some
    propagates = False  # features of key frames, by a temporal module
    # Non-key frames depend on all frames since the key frame, in whose order they are detected, and
    # their detections are those of a part of the frame: the filter makes them results.
    sequential = False
    light_weights = LIGHT_WEIGHTS  # of the boxes and scores of light frames, to begin with
    reads_pixels = True  # of non-key frames, and not just boxes of key frames

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        prediction = executor.model.spatial.prediction
        if self.needs_boxes and prediction != 'pred_instances':
            raise MethodError(
                f'method {type(self).__name__.lower()!r} moves boxes, but this model predicts '
                f'{prediction}: use one of frame, small, copy, propagate, centered, sff-fast, '
                'sff-slow'
            )

    def batch(self, frames: Sequence[Frame]) -> tuple[Tensor, SampleList]:
        """Return the frames as a batch (N, 3, H, W) on the device, for the executor, and their data
        samples.
        """
        inputs = [frame.inputs for frame in frames]
        return self.executor.model.preprocess(inputs, [frame.sample for frame in frames])

    def key(self, frames: Sequence[Frame]) -> SampleList:
        """Detect on key frames, and keep in them what non-key frames need."""
        return self.executor.predict_key(*self.batch(frames))[0]

    @cached_property
    def num_classes(self) -> int:
        """Number of the detector's classes: an RPN has one, but its RoI head has all."""
        detector = self.executor.model.spatial.detector
        return max(num_classes_of(detector).values(), default=getattr(detector, 'num_classes', 1))

    def rehearse(self, key: Frame, light: Frame | None) -> None:
        """Detect on a key frame and, if there are any, on a light frame, so that the executor sees
        inputs of all sizes.
        """
        self.key([key])
        if light:
            self.non_key([light])

    @abstractmethod
    def non_key(self, frames: Sequence[Frame]) -> SampleList:
        """Detect on non-key frames."""


def method_class(name: str) -> type[VideoMethod]:
    """Return the method registered under ``name``."""
    if name not in METHODS:
        raise MethodError(
            f'unknown method {name!r}; choose one of {", ".join(METHODS.module_dict)}'
        )
    return METHODS.get(name)


def methods_where(condition: Callable[[type[VideoMethod]], bool]) -> list[str]:
    """Return the names of the methods whose class fulfills a condition."""
    return [name for name, kind in METHODS.module_dict.items() if condition(kind)]


def pairwise_methods() -> list[str]:
    """Return the names of the methods whose results depend on the frame and its key frame alone."""
    return methods_where(lambda kind: not (kind.needs_next or kind.key_only or kind.sequential))
