"""*propagate*: features of the key frame carried to the frames between (DFF 3, semi-DFF 3.1)."""

from mmdet.structures import DetDataSample
from torch import Tensor, nn

from semidff.models.video_detector import KeyFrame

from .method import MethodError, VideoMethod


class Propagation(VideoMethod):
    """Feature network on key frames, temporal module on the others.

    Features always come straight from the last key frame, never by way of the frame before, and
    nothing but that key frame's state is kept.

    Args:
        model (nn.Module): A ``VideoDetector`` in eval mode.
        keep_flow (bool): Whether results carry ``feature_flow``, (2, h, w) in cells (for pictures).

    Raises:
        MethodError: If the model has no temporal module, or no flow network where flow is wanted.
    """

    reads_current_frames = True
    uses_temporal = True
    pairwise = True

    def __init__(self, model: nn.Module, keep_flow: bool = False) -> None:
        if not model.has_temporal:
            raise MethodError(
                "method 'propagate' needs a temporal module and this model has none: use a "
                'stage-two config and checkpoint, or one of frame, copy, coast, interpolate, sff-fast'
            )
        super().__init__(model)
        self._flow = self._hook = None
        if keep_flow:
            network = getattr(model.temporal, 'flow_network', None)
            if network is None:
                name = type(model.temporal).__name__
                raise MethodError(f'{name} has no flow network; render without the flow panel')
            self._hook = network.register_forward_hook(self._note_flow)

    def reset(self) -> None:
        """Drops the key frame's state."""
        self._key_frame = None

    def key(self, inputs: Tensor, sample: DetDataSample) -> list[DetDataSample]:
        """See :class:`VideoMethod`."""
        self._key_frame = None  # frees its memory before the next key frame's is allocated
        results, self._key_frame = self.model.predict_key(inputs, [sample])
        return results

    def current(self, inputs: Tensor, sample: DetDataSample) -> list[DetDataSample]:
        """See :class:`VideoMethod`."""
        return self._propagated(inputs, [sample], self._key_frame)

    def _propagated(
        self, inputs: Tensor, samples: list[DetDataSample], key: KeyFrame
    ) -> list[DetDataSample]:
        """Results of current frames (N, 3, H, W), each from its key frame of the batch ``key``."""
        results = self.model.predict_current(inputs, samples, key)
        if self._flow is not None:
            for result, flow in zip(results, self._flow, strict=True):
                result.feature_flow = flow
            self._flow = None
        return results

    def close(self) -> None:
        """Takes the hook off the flow network."""
        if self._hook is not None:
            self._hook.remove()

    def _note_flow(self, network: nn.Module, inputs: tuple, output) -> None:
        self._flow = output.flow
