"""*propagate*: features of the key frame carried to the frames between (DFF 3, semi-DFF 3.1)."""

from collections.abc import Sequence
from dataclasses import dataclass

from mmdet.structures import SampleList
from torch import Tensor, nn

from semidff.models.video_detector import FlowField, KeyFrame

from .base import METHODS, MethodError, VideoMethod


@dataclass
class KeyFeatures:
    """A video's last key frame."""

    key_frame: KeyFrame | None = None


@METHODS.register_module(name='propagate')
class Propagation(VideoMethod):
    """Feature network on key frames, temporal module on the others.

    Features always come straight from the last key frame, never by way of the frame before, and
    nothing but that key frame's state is kept.

    Args:
        model (nn.Module): A ``VideoDetector`` in eval mode.
        keep_fields (bool): Whether results carry what they were propagated by, for pictures: ``feature_flow``
            (2, h, w) in cells, and ``scale_field`` (1, h, w), its mean over channels, where there is one.

    Raises:
        MethodError: If the model has no temporal module.
    """

    reads_non_key_frames = True
    uses_temporal = True
    pairwise = True
    shows_flow = True
    inspectable = True

    def __init__(self, model: nn.Module, keep_fields: bool = False) -> None:
        if not model.has_temporal:
            raise MethodError(
                "method 'propagate' needs a temporal module and this model has none: use a "
                'stage-two config and checkpoint, or one of frame, copy, coast, interpolate, sff-fast'
            )
        super().__init__(model)
        self.keep_fields = keep_fields

    def begin(self) -> KeyFeatures:
        """See :class:`VideoMethod`."""
        return KeyFeatures()

    def key(
        self, inputs: Tensor, samples: SampleList, memories: Sequence[KeyFeatures]
    ) -> list[SampleList]:
        """See :class:`VideoMethod`."""
        for memory in memories:
            memory.key_frame = None  # frees its memory before the next key frame's is allocated
        results, keys = self.model.predict_key(inputs, samples)
        for memory, key in zip(memories, keys.split(), strict=True):
            memory.key_frame = key
        return [[result] for result in results]

    def non_key(
        self,
        inputs: Tensor,
        samples: SampleList,
        memories: Sequence[KeyFeatures],
        flow_field: FlowField | None = None,
    ) -> list[SampleList]:
        """See :class:`VideoMethod`."""
        keys = [memory.key_frame for memory in memories]
        return [[result] for result in self._propagated(inputs, samples, keys, flow_field)]

    def flow_field(self, inputs: Tensor, memories: Sequence[KeyFeatures]) -> FlowField:
        """See :class:`VideoMethod`."""
        return self.model.flow_field(inputs, KeyFrame.batch([m.key_frame for m in memories]))

    def _propagated(
        self,
        inputs: Tensor,
        samples: SampleList,
        keys: Sequence[KeyFrame],
        flow_field: FlowField | None = None,
    ) -> SampleList:
        """Results of current frames (N, 3, H, W), each from its key frame."""
        key = KeyFrame.batch(keys)
        if flow_field is None and self.keep_fields:
            flow_field = self.model.flow_field(inputs, key)
        results = self.model.predict_non_key(inputs, samples, key, flow_field)
        if self.keep_fields:
            _attach_fields(results, flow_field)
        return results


def _attach_fields(results: SampleList, flow_field: FlowField) -> None:
    for index, result in enumerate(results):
        result.feature_flow = flow_field.flow[index]
        if flow_field.scale is not None:
            result.scale_field = flow_field.scale[index].mean(0, keepdim=True)
