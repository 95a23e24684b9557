"""Base classes of the methods."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from mmdet.structures import DetDataSample, SampleList
from mmengine.registry import Registry
from mmengine.structures import InstanceData
from torch import Tensor, nn

from semidff.models.video_detector import FlowField
from semidff.utils.deprecation import renamed_method

METHODS = Registry('video method', locations=['semidff.inference.methods'])
"""Methods by the name that configs and tools use."""


class MethodError(ValueError):
    """An unknown method, or one that the given model does not support."""


class VideoMethod(ABC):
    """A way to obtain detections for all frames of a video, on key frames and on non-key frames.

    A method is stateless. The state of a video is a *memory*, which :meth:`begin` creates and the other methods take,
    so that one method serves any number of videos at a time. All frames of a call have the same size. :meth:`key` and
    :meth:`non_key` return for each video the results finished so far, in frame order; a causal method returns exactly
    the frame that it was given.

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

    inspectable = False
    """Whether a schedule can inspect the flow field of a frame before it is propagated; see :meth:`flow_field`."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @abstractmethod
    def begin(self) -> Any:
        """Return the memory of a new video."""

    @abstractmethod
    def key(self, inputs: Tensor, samples: SampleList, memories: Sequence[Any]) -> list[SampleList]:
        """Process one key frame of each of several videos.

        Args:
            inputs: Preprocessed frames (N, 3, H, W).
            samples: Data samples of the frames.
            memories: Memories of the videos, changed in place.
        """

    @abstractmethod
    def non_key(
        self,
        inputs: Tensor | None,
        samples: SampleList,
        memories: Sequence[Any],
        flow_field: FlowField | None = None,
    ) -> list[SampleList]:
        """Process one non-key frame of each of several videos.

        Args:
            inputs: Preprocessed frames (N, 3, H, W); None unless ``reads_non_key_frames``.
            samples: Data samples of the frames.
            memories: Memories of the videos, changed in place.
            flow_field: Result of :meth:`flow_field` for these frames, if it was computed already.
        """

    def flow_field(self, inputs: Tensor, memories: Sequence[Any]) -> FlowField:
        """Return the flow field of frames (N, 3, H, W) with respect to their key frames."""
        raise NotImplementedError(f'{type(self).__name__} propagates no features')

    def flush(self, memory: Any) -> SampleList:
        """Return the pending results of a video's last frames (offline methods)."""
        return []


def method_class(name: str) -> type[VideoMethod]:
    """Return the method registered under ``name``.

    Raises:
        MethodError: If there is none.
    """
    found = METHODS.get(renamed_method(name))
    if found is None:
        raise MethodError(
            f'unknown method {name!r}; choose one of {", ".join(METHODS.module_dict)}'
        )
    return found


class BoxMethod(VideoMethod):
    """A method that runs the spatial module on key frames and derives all other boxes from theirs."""

    def key(self, inputs: Tensor, samples: SampleList, memories: Sequence[Any]) -> list[SampleList]:
        results = self.model.predict_key(inputs, samples)[0]
        return [self._key(*pair) for pair in zip(results, memories, strict=True)]

    def non_key(
        self,
        inputs: Tensor | None,
        samples: SampleList,
        memories: Sequence[Any],
        flow_field: FlowField | None = None,
    ) -> list[SampleList]:
        return [self._non_key(*pair) for pair in zip(samples, memories, strict=True)]

    @abstractmethod
    def _key(self, result: DetDataSample, memory: Any) -> SampleList:
        """Process the detections on a key frame; return the finished results."""

    @abstractmethod
    def _non_key(self, sample: DetDataSample, memory: Any) -> SampleList:
        """Process a non-key frame; return the finished results."""


def instances_like(template: InstanceData, bboxes, scores, labels) -> InstanceData:
    """Return instances from arrays, with the dtypes and on the device of ``template``.

    Args:
        template: Detections with ``bboxes``, ``scores`` and ``labels``.
        bboxes: (n, 4), xyxy in pixels of the original image.
        scores: (n,).
        labels: (n,).
    """
    return InstanceData(
        bboxes=template.bboxes.new_tensor(bboxes).reshape(-1, 4),
        scores=template.scores.new_tensor(scores),
        labels=template.labels.new_tensor(labels),
    )
