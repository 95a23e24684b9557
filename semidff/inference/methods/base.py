"""Base class of the methods, and their registry."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from mmdet.structures import SampleList
from mmengine.registry import Registry
from torch import Tensor

from semidff.inference.executors import Executor
from semidff.inference.intervals import Frame, to_device

METHODS = Registry('video method', locations=['semidff.inference.methods'])
"""Methods by the name that configs and tools use."""


class MethodError(ValueError):
    """An unknown method, or one that the given model does not support."""


class VideoMethod(ABC):
    """A way to obtain detections for all frames of a video, on key frames and on non-key frames.

    A method is stateless, so that one serves any number of videos at a time: what it keeps of a video is in the
    :class:`~semidff.inference.intervals.Interval`. :meth:`key` and :meth:`non_key` take a batch of frames of one size,
    of one interval or of several, and return a result for each.
    """

    uses_temporal = False  # the model's own temporal module runs, so that its weights are required
    needs_next = False  # non-key frames need the next key frame (offline)
    key_only = False  # nothing is detected on non-key frames, which are tracked
    needs_boxes = False  # the method moves boxes, so that a model has to predict some

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        prediction = executor.model.spatial.prediction
        if self.needs_boxes and prediction != 'pred_instances':
            raise MethodError(
                f'method {type(self).__name__.lower()!r} moves boxes, but this model predicts {prediction}: '
                'use one of frame, small, copy, propagate, centered, sff-fast, sff-slow'
            )

    def to_device(self, frames: Sequence[Frame]) -> tuple[Tensor, SampleList]:
        """Return the batch of frames (N, 3, H, W) for the executor, and their data samples."""
        return to_device(self.executor.model, frames)

    def key(self, frames: Sequence[Frame]) -> SampleList:
        """Detect on key frames, and note in their intervals what non-key frames need."""
        return self.executor.predict_key(*self.to_device(frames))[0]

    def wait(self, frame: Frame) -> None:
        """Keep a non-key frame until it is detected together with others of its interval."""
        frame.interval.waiting.append(frame)

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
    return methods_where(lambda kind: not (kind.needs_next or kind.key_only))
