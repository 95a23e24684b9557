"""*frame*: the spatial module on every frame; what the other methods are measured against."""

from mmdet.structures import DetDataSample
from torch import Tensor

from .method import VideoMethod


class FrameByFrame(VideoMethod):
    """Every frame is a key frame."""

    reads_current_frames = True
    pairwise = True

    def reset(self) -> None:
        """Nothing is kept from frame to frame."""

    def key(self, inputs: Tensor, sample: DetDataSample) -> list[DetDataSample]:
        """See :class:`VideoMethod`."""
        return [self.detect(inputs, sample)]

    def current(self, inputs: Tensor, sample: DetDataSample) -> list[DetDataSample]:
        """Treated as a key frame."""
        return self.key(inputs, sample)
