"""What every way of getting boxes for all frames of a video has in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from mmdet.structures import DetDataSample, SampleList
from mmengine.registry import Registry
from mmengine.structures import InstanceData
from torch import Tensor, nn

from semidff.models.video_detector import FlowField
from semidff.utils.deprecation import warn_renamed

METHODS = Registry('video method', locations=['semidff.inference.methods'])
"""All methods by the name that configs and tools use."""


class MethodError(ValueError):
    """A method that does not exist, or that the given model cannot do."""


class VideoMethod(ABC):
    """One way through videos: what happens on key frames and on the frames between.

    A method remembers nothing. What has to be known of a video is in a memory of its own, which :meth:`begin` makes
    and the other steps are given, so that one method serves many videos at a time. All frames of a step have one
    size. Both steps return for each video the results that are finished by then, in frame order; a causal method
    returns exactly the frame that it was given.

    Args:
        model (nn.Module): A ``VideoDetector`` in eval mode.
    """

    reads_non_key_frames = False
    """Whether the frames between key frames must be preprocessed and sent to the device."""

    uses_temporal = False
    """Whether the model's own temporal module is run, so that its weights are needed."""

    pairwise = False
    """Whether a result follows from the frame and its key frame alone, whatever is in between."""

    shows_flow = False
    """Whether results can carry the feature flow and the scale field."""

    inspectable = False
    """Whether :meth:`flow_field` tells how a frame would be propagated, before it is."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @abstractmethod
    def begin(self) -> Any:
        """Memory of a new video."""

    @abstractmethod
    def key(self, inputs: Tensor, samples: SampleList, memories: Sequence[Any]) -> list[SampleList]:
        """Takes key frames of several videos.

        Args:
            inputs (Tensor): The preprocessed frames, (N, 3, H, W).
            samples (list[DetDataSample]): Their data samples.
            memories (Sequence): Their videos' memories; they are changed.
        """

    @abstractmethod
    def non_key(
        self,
        inputs: Tensor | None,
        samples: SampleList,
        memories: Sequence[Any],
        flow_field: FlowField | None = None,
    ) -> list[SampleList]:
        """Takes frames between key frames, of several videos.

        Args:
            inputs (Tensor | None): The preprocessed frames, (N, 3, H, W); None unless ``reads_non_key_frames``.
            samples (list[DetDataSample]): Their data samples.
            memories (Sequence): Their videos' memories; they are changed.
            flow_field (FlowField | None): What :meth:`flow_field` said of these frames, if it was asked.
        """

    def flow_field(self, inputs: Tensor, memories: Sequence[Any]) -> FlowField:
        """How frames (N, 3, H, W) would be propagated from their videos' key frames."""
        raise NotImplementedError(f'{type(self).__name__} propagates no features')

    def flush(self, memory: Any) -> SampleList:
        """Results of a video's last frames that are still missing (offline methods)."""
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


def renamed_method(name: str) -> str:
    """Return the current name of a method; a former name is reported as deprecated."""
    if name == 'centred':
        warn_renamed('method', name, 'centered')
        return 'centered'
    return name


class BoxMethod(VideoMethod):
    """The spatial module on key frames, their boxes alone in between; the features are not kept."""

    def key(self, inputs: Tensor, samples: SampleList, memories: Sequence[Any]) -> list[SampleList]:
        """See :class:`VideoMethod`."""
        results = self.model.predict_key(inputs, samples)[0]
        return [self._key(*pair) for pair in zip(results, memories, strict=True)]

    def non_key(
        self,
        inputs: Tensor | None,
        samples: SampleList,
        memories: Sequence[Any],
        flow_field: FlowField | None = None,
    ) -> list[SampleList]:
        """See :class:`VideoMethod`."""
        return [self._non_key(*pair) for pair in zip(samples, memories, strict=True)]

    @abstractmethod
    def _key(self, result: DetDataSample, memory: Any) -> SampleList:
        """Takes the detections on a key frame; returns what is finished."""

    @abstractmethod
    def _non_key(self, sample: DetDataSample, memory: Any) -> SampleList:
        """Takes a frame between; returns what is finished."""


def instances_like(template: InstanceData, bboxes, scores, labels) -> InstanceData:
    """Instances from arrays, with the dtypes and on the device of ``template``'s tensors.

    Args:
        template (InstanceData): Detections with ``bboxes``, ``scores`` and ``labels``.
        bboxes (ndarray): (n, 4), xyxy in pixels of the original image.
        scores (ndarray): (n,).
        labels (ndarray): (n,).
    """
    return InstanceData(
        bboxes=template.bboxes.new_tensor(bboxes).reshape(-1, 4),
        scores=template.scores.new_tensor(scores),
        labels=template.labels.new_tensor(labels),
    )
