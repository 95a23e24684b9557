"""*frame*: the spatial module on every frame, the reference of all other methods."""

from collections.abc import Sequence

from mmdet.structures import SampleList
from torch import Tensor

from semidff.models.video_detector import FlowField

from .base import METHODS, VideoMethod


@METHODS.register_module(name='frame')
class Frame(VideoMethod):
    """Every frame is a key frame."""

    reads_non_key_frames = True
    pairwise = True

    def begin(self) -> None:
        """Return None: nothing is kept from frame to frame."""

    def key(
        self, inputs: Tensor, samples: SampleList, memories: Sequence[None]
    ) -> list[SampleList]:
        return [[result] for result in self.model.predict_key(inputs, samples)[0]]

    def non_key(
        self,
        inputs: Tensor,
        samples: SampleList,
        memories: Sequence[None],
        flow_field: FlowField | None = None,
    ) -> list[SampleList]:
        return self.key(inputs, samples, memories)
