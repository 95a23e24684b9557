"""Base class of the methods, and their registry."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mmdet.structures import SampleList
from mmengine.registry import Registry
from torch import Tensor, nn

from semidff.models.key_frame import FlowField, KeyFrame

METHODS = Registry('video method', locations=['semidff.inference.methods'])
"""Methods by the name that configs and tools use."""


class MethodError(ValueError):
    """An unknown method, or one that the given model does not support."""


@dataclass
class Memory:
    """What is kept of a video from frame to frame; each method uses the fields that it needs.

    Attributes:
        key_frame: Image and features of the last key frame.
        detections: Predictions on the last key frame.
        waiting: Non-key frames that are not detected yet: input (3, H, W) and data sample of each, and its flow field
            if that is known.
        chunked: Whether non-key frames may wait for one another, so that they are detected as a batch.
        tracker: Tracker of the detections.
    """

    key_frame: KeyFrame | None = None
    detections: Any = None
    waiting: list = field(default_factory=list)
    chunked: bool = False
    tracker: Any = None


class Frames(NamedTuple):
    """Frames of equal size, one of each of several videos.

    Attributes:
        inputs: Preprocessed frames (N, 3, H, W); None on non-key frames unless the method ``reads_non_key_frames``.
        samples: Data samples of the frames.
        memories: Memories of the videos, changed in place.
        ahead: Detections on a single key frame that run ahead in another thread.
    """

    inputs: Tensor | None
    samples: SampleList
    memories: Sequence[Memory]
    ahead: Future | None = None


class VideoMethod(ABC):
    """A way to obtain detections for all frames of a video, on key frames and on non-key frames.

    A method is stateless; its model is in eval mode. The state of a video is its :class:`Memory`, so that one method
    serves any number of videos at a time. :meth:`key` and :meth:`non_key` return for each video the results finished so
    far, in frame order; a causal method returns exactly the frame that it was given.
    """

    reads_non_key_frames = False  # non-key frames are preprocessed and sent to the device
    uses_temporal = False  # the model's own temporal module runs, so that its weights are required
    pairwise = False  # a result depends on the frame and its key frame alone
    shows_flow = False  # results can hold the feature flow and the scale field
    observable = False  # flow_field() gives the flow field of a frame before it is propagated
    offline = False  # results wait for later frames
    needs_boxes = False  # the method moves boxes, so that a model has to predict some

    def __init__(self, model: nn.Module) -> None:
        if self.needs_boxes and model.spatial.prediction != 'pred_instances':
            raise MethodError(
                f'method {type(self).__name__.lower()!r} moves boxes, but this model predicts '
                f'{model.spatial.prediction}: use one of frame, copy, propagate, centered, sff-fast, sff-slow'
            )
        self.model = model

    def begin(self) -> Memory:
        """Return the memory of a new video."""
        return Memory()

    def predict_key(self, frames: Frames) -> tuple[SampleList, KeyFrame]:
        """Detect on key frames, unless that runs ahead."""
        if frames.ahead is not None:
            return frames.ahead.result()
        return self.model.predict_key(frames.inputs, frames.samples)

    @abstractmethod
    def key(self, frames: Frames) -> list[SampleList]:
        """Process one key frame of each of several videos."""

    @abstractmethod
    def non_key(self, frames: Frames, flow_field: FlowField | None = None) -> list[SampleList]:
        """Process one non-key frame of each of several videos.

        If :meth:`flow_field` was called for these frames already, ``flow_field`` is its result.
        """

    def flow_field(self, inputs: Tensor, memories: Sequence[Memory]) -> FlowField:
        """Return the flow field of frames (N, 3, H, W) with respect to their key frames."""
        raise NotImplementedError(f'{type(self).__name__} propagates no features')

    def flush(self, memory: Memory) -> SampleList:
        """Return the pending results of a video's last frames (offline methods)."""
        return []


def method_class(name: str) -> type[VideoMethod]:
    """Return the method registered under ``name``."""
    if name not in METHODS:
        raise MethodError(
            f'unknown method {name!r}; choose one of {", ".join(METHODS.module_dict)}'
        )
    return METHODS.get(name)


def methods_with(trait: str) -> list[str]:
    """Return the names of the methods of which an attribute such as ``pairwise`` is true."""
    return [name for name, method in METHODS.module_dict.items() if getattr(method, trait)]
