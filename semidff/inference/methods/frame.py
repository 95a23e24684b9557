"""*frame*: the spatial module on every frame; what the other methods are measured against."""

from collections.abc import Sequence

from mmdet.structures import SampleList
from torch import Tensor

from semidff.models.video_detector import FlowField

from .base import METHODS, VideoMethod


@METHODS.register_module(name='frame')
class FrameByFrame(VideoMethod):
    """Every frame is a key frame."""

    reads_non_key_frames = True
    pairwise = True

    def begin(self) -> None:
        """Nothing is kept from frame to frame."""

    def key(
        self, inputs: Tensor, samples: SampleList, memories: Sequence[None]
    ) -> list[SampleList]:
        """See :class:`VideoMethod`."""
        return [[result] for result in self.model.predict_key(inputs, samples)[0]]

    def non_key(
        self,
        inputs: Tensor,
        samples: SampleList,
        memories: Sequence[None],
        flow_field: FlowField | None = None,
    ) -> list[SampleList]:
        """Treated as key frames."""
        return self.key(inputs, samples, memories)
