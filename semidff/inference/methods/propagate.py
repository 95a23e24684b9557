"""*propagate*: key-frame features propagated to non-key frames (DFF section 3, semi-DFF 3.1)."""

from collections.abc import Sequence
from dataclasses import dataclass

from mmdet.structures import SampleList
from torch import Tensor, nn

from semidff.models.key_frame import FlowField, KeyFrame

from .base import METHODS, Frames, MethodError, VideoMethod


@dataclass
class PropagateMemory:
    """Last key frame of a video."""

    key_frame: KeyFrame | None = None


@METHODS.register_module(name='propagate')
class Propagate(VideoMethod):
    """Feature network on key frames, temporal module on non-key frames.

    Features are propagated directly from the last key frame, never from a non-key frame.

    Args:
        keep_fields: Whether results hold their ``feature_flow`` (2, h, w) in cells, and their ``scale_field``
            (1, h, w), the mean over its channels, if there is one; for visualization.

    Raises:
        MethodError: If the model has no temporal module, or one without feature flow has to keep it.
    """

    reads_non_key_frames = True
    uses_temporal = True
    pairwise = True
    shows_flow = True
    inspectable = True
    memory_class = PropagateMemory

    def __init__(self, model: nn.Module, keep_fields: bool = False) -> None:
        if not model.has_temporal:
            raise MethodError(
                "method 'propagate' needs a temporal module and this model has none: use a "
                'stage-two config and checkpoint, or one of frame, copy, coast, interpolate, sff-fast'
            )
        super().__init__(model)
        self.inspectable = self.inspectable and hasattr(model.temporal, 'fields')
        if keep_fields and not hasattr(model.temporal, 'fields'):
            raise MethodError(f'{type(model.temporal).__name__} has no feature flow to keep')
        self.keep_fields = keep_fields

    def key(self, frames: Frames) -> list[SampleList]:
        for memory in frames.memories:
            memory.key_frame = None  # freed before the next one is allocated
        results, keys = self.model.predict_key(frames.inputs, frames.samples)
        for memory, key in zip(frames.memories, keys.split(), strict=True):
            memory.key_frame = key
        return [[result] for result in results]

    def non_key(self, frames: Frames, flow_field: FlowField | None = None) -> list[SampleList]:
        key = KeyFrame.batch([memory.key_frame for memory in frames.memories])
        if flow_field is None and self.keep_fields:
            flow_field = self.model.flow_field(frames.inputs, key)
        results = self.model.predict_non_key(frames.inputs, frames.samples, key, flow_field)
        if self.keep_fields:
            for index, result in enumerate(results):
                result.feature_flow = flow_field.flow[index]
                if flow_field.scale is not None:
                    result.scale_field = flow_field.scale[index].mean(0, keepdim=True)
        return [[result] for result in results]

    def flow_field(self, inputs: Tensor, memories: Sequence[PropagateMemory]) -> FlowField:
        return self.model.flow_field(inputs, KeyFrame.batch([m.key_frame for m in memories]))
