"""Base class of the methods, and their registry."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from mmdet.structures import SampleList
from mmengine.registry import Registry
from torch import Tensor, nn

from semidff.models.key_frame import FlowField

METHODS = Registry('video method', locations=['semidff.inference.methods'])
"""Methods by the name that configs and tools use."""


class MethodError(ValueError):
    """An unknown method, or one that the given model does not support."""


class Frames(NamedTuple):
    """Frames of equal size, one of each of several videos.

    Attributes:
        inputs: Preprocessed frames (N, 3, H, W); None on non-key frames unless the method ``reads_non_key_frames``.
        samples: Data samples of the frames.
        memories: Memories of the videos, changed in place.
    """

    inputs: Tensor | None
    samples: SampleList
    memories: Sequence[Any]


class VideoMethod(ABC):
    """A way to obtain detections for all frames of a video, on key frames and on non-key frames.

    A method is stateless. The state of a video is a *memory*, which :meth:`begin` creates and the other methods take,
    so that one method serves any number of videos at a time. :meth:`key` and :meth:`non_key` return for each video the
    results finished so far, in frame order; a causal method returns exactly the frame that it was given.

    Args:
        model: A ``VideoDetector`` in eval mode.
    """

    reads_non_key_frames = False
    """Whether non-key frames have to be preprocessed and sent to the device."""

    uses_temporal = False
    """Whether the model's own temporal module runs, so that its weights are required."""

    pairwise = False
    """Whether a result depends on the frame and its key frame alone."""

    shows_flow = False
    """Whether results can hold the feature flow and the scale field."""

    observable = False
    """Whether a schedule can observe the flow field of a frame before it is propagated; see :meth:`flow_field`."""

    offline = False
    """Whether results wait for later frames."""

    needs_boxes = False
    """Whether the method moves boxes, so that a model has to predict some."""

    memory_class: type | None = None
    """Class of the memory of a video; None if nothing is kept from frame to frame."""

    def __init__(self, model: nn.Module) -> None:
        if self.needs_boxes and model.spatial.prediction != 'pred_instances':
            raise MethodError(
                f'method {type(self).__name__.lower()!r} moves boxes, but this model predicts '
                f'{model.spatial.prediction}: use one of frame, copy, propagate, centered, sff-fast, sff-slow'
            )
        self.model = model

    def begin(self) -> Any:
        """Return the memory of a new video."""
        return None if self.memory_class is None else self.memory_class()

    @abstractmethod
    def key(self, frames: Frames) -> list[SampleList]:
        """Process one key frame of each of several videos."""

    @abstractmethod
    def non_key(self, frames: Frames, flow_field: FlowField | None = None) -> list[SampleList]:
        """Process one non-key frame of each of several videos.

        If :meth:`flow_field` was called for these frames already, ``flow_field`` is its result.
        """

    def flow_field(self, inputs: Tensor, memories: Sequence[Any]) -> FlowField:
        """Return the flow field of frames (N, 3, H, W) with respect to their key frames."""
        raise NotImplementedError(f'{type(self).__name__} propagates no features')

    def flush(self, memory: Any) -> SampleList:
        """Return the pending results of a video's last frames (offline methods)."""
        return []


def method_class(name: str) -> type[VideoMethod]:
    """Return the method registered under ``name``."""
    found = METHODS.get(name)
    if found is None:
        raise MethodError(
            f'unknown method {name!r}; choose one of {", ".join(METHODS.module_dict)}'
        )
    return found


def pairwise_methods() -> list[str]:
    """Return the names of the methods whose results depend on the frame and its key frame alone."""
    return [name for name, method in METHODS.module_dict.items() if method.pairwise]
