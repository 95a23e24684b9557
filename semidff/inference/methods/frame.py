"""*frame*: the spatial module on every frame, the reference of all other methods."""

from mmdet.structures import SampleList

from semidff.models.key_frame import FlowField

from .base import METHODS, Frames, VideoMethod


@METHODS.register_module(name='frame')
class Frame(VideoMethod):
    """Every frame is a key frame."""

    reads_non_key_frames = True
    pairwise = True

    def key(self, frames: Frames) -> list[SampleList]:
        return [[result] for result in self.model.predict_key(frames.inputs, frames.samples)[0]]

    def non_key(self, frames: Frames, flow_field: FlowField | None = None) -> list[SampleList]:
        return self.key(frames)
