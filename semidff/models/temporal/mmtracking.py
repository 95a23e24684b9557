"""The temporal module as mmtracking computes it, for its checkpoints (``tools/model_converters/mmtracking.py``).

Its layers are FlowNetS's, without biases in the refinement part. Around them it differs from the papers' in four ways,
none of which weights can make up for:

- frames enter as pixels / 255 minus (0.411, 0.432, 0.450);
- the flow is predicted at stride 8 and then resized to stride 16 (by way of the image's size, which comes to the mean
  of 2 x 2 cells), where the papers' pools the features and predicts from these;
- there is no scale field;
- positions are normalized by the map's size W and sampled with ``align_corners=True``, so what is read lies at
  (x + flow) (W - 1) / W: up to one cell too far left and up, even without motion. Outside the map its border is read.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor

from .flownet_s import FlowNetS
from .refinement import FlowOutput
from .temporal_module import TemporalModule

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@MODELS.register_module()
class MMTrackingFlowNet(FlowNetS):
    """FlowNetS with mmtracking's input and output.

    The size of the frames has to be a multiple of 16 (``pad_size_divisor=16``, as there). mmtracking sets what is
    padded to zero after subtracting its mean; here it has the data preprocessor's mean, which is a little brighter and
    shows in cells near a padded border.

    Args:
        frame_mean: What the data preprocessor subtracted, red, green, blue.
        frame_std: What it divided by.
        flow_mean: What is subtracted from frames of 0 to 1.
        kwargs: Of :class:`~semidff.models.temporal.flownet_s.FlowNetS`.
    """

    def __init__(
        self,
        frame_mean: Sequence[float] = MEAN,
        frame_std: Sequence[float] = STD,
        flow_mean: Sequence[float] = (0.411, 0.432, 0.450),
        **kwargs: float,
    ) -> None:
        super().__init__(**kwargs)
        mean, std, own = (
            torch.tensor(values).view(3, 1, 1) for values in (frame_mean, frame_std, flow_mean)
        )
        self.register_buffer('input_factor', std / 255, persistent=False)
        self.register_buffer('input_shift', mean / 255 - own, persistent=False)

    def prepare(self, image: Tensor) -> Tensor:
        """Half-size frames in mmtracking's units, of normalized frames (N, 3, H, W)."""
        return F.interpolate(
            image * self.input_factor + self.input_shift, scale_factor=0.5, mode='bilinear'
        )

    def read(self, top: Tensor, coarse_flows: Sequence[Tensor]) -> FlowOutput:
        """Flow of the last features (N, C, H / 8, W / 8), averaged over 2 x 2 cells."""
        hidden = F.avg_pool2d(top, 2, ceil_mode=True)
        return FlowOutput(F.avg_pool2d(self._flow(top), 2, ceil_mode=True), hidden, coarse_flows)


@MODELS.register_module()
class MMTrackingTemporalModule(TemporalModule):
    """The temporal module with mmtracking's warp, on one feature level of the flow network's stride.

    Weights of mmtracking were trained with this warp. ``TemporalModule(with_scale=False)`` takes the same weights and
    warps without its shift.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **{'with_scale': False, **kwargs})
        if self.feat_strides != (self.flow_network.stride,):
            raise ValueError(
                f'mmtracking warps one level of stride {self.flow_network.stride}, '
                f'got feat_strides={self.feat_strides}'
            )

    def propagate(
        self, features: Sequence[Tensor], flow: Tensor, scale: Tensor | None
    ) -> tuple[Tensor, ...]:
        """Warps the key frame's features (N, C, h, w) with a flow in cells."""
        return super().propagate(features, as_mmtracking_reads(flow), scale)


def as_mmtracking_reads(flow: Tensor) -> Tensor:
    """The flow (N, 2, H, W) in cells that leads our warp to where mmtracking's reads."""
    height, width = flow.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=flow.device), torch.arange(width, device=flow.device),
        indexing='ij',
    )  # fmt: skip
    own = torch.stack((x, y)).to(flow)
    size = flow.new_tensor((width, height)).view(2, 1, 1)
    read = ((own + flow) * ((size - 1) / size)).clamp(min=0).minimum(size - 1)
    return read - own
