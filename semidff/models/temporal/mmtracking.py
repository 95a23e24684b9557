"""mmtracking's temporal module, for its checkpoints (``tools/model_converters/mmtracking.py``).

Its layers are those of FlowNetS, without biases in the refinement part. It differs from the papers' temporal module in
four ways that a conversion of the weights cannot compensate for:

- frames are input as pixels / 255 minus (0.411, 0.432, 0.450);
- the flow is predicted at stride 8 and then resized to stride 16 (via the image's size, which equals the mean of 2 x 2
  cells), whereas the papers pool the features and predict the flow from them;
- there is no scale field;
- positions are normalized by the map's size W and sampled with ``align_corners=True``, so that the position read is
  (x + flow) (W - 1) / W, up to one cell too far left and up, even without motion. Outside the map, its border is read.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor

from .flownet_s import FlowNetS
from .refinement import FlowOutput
from .temporal_module import TemporalModule

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of the data preprocessor


@MODELS.register_module()
class MMTrackingFlowNet(FlowNetS):
    """FlowNetS with mmtracking's input and output.

    The size of the frames has to be a multiple of 16 (``pad_size_divisor=16``, as in mmtracking). mmtracking pads with
    zeros after subtracting its mean; here the padding is the data preprocessor's mean, which is slightly brighter and
    affects cells near a padded border.

    Args:
        kwargs: Arguments of :class:`~semidff.models.temporal.flownet_s.FlowNetS`.
    """

    def __init__(self, **kwargs: float) -> None:
        super().__init__(**kwargs)
        mean, std, own = (
            torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD, (0.411, 0.432, 0.450))
        )
        self.register_buffer('input_factor', std / 255, persistent=False)
        self.register_buffer('input_shift', mean / 255 - own, persistent=False)

    def prepare(self, image: Tensor) -> Tensor:
        """Convert normalized frames (N, 3, H, W) to mmtracking's half-size input."""
        return F.interpolate(
            image * self.input_factor + self.input_shift, scale_factor=0.5, mode='bilinear'
        )

    def read(self, top: Tensor, coarse_flows: Sequence[Tensor]) -> FlowOutput:
        """Predict the flow from the last features (N, C, H / 8, W / 8) and average it over 2 x 2 cells."""
        flow = self.predict_flow(top) * self.flow_scale
        return FlowOutput(self.pool(flow), self.pool(top), coarse_flows)


@MODELS.register_module()
class MMTrackingTemporalModule(TemporalModule):
    """Temporal module with mmtracking's warp, for one feature level of the flow network's stride.

    mmtracking's weights were trained with this warp. ``TemporalModule(with_scale=False)`` takes the same weights and
    warps without the shift.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **{'with_scale': False, **kwargs})
        if self.feat_strides != (self.flow_network.stride,):
            raise ValueError(
                f'mmtracking warps one level of stride {self.flow_network.stride}, '
                f'got feat_strides={self.feat_strides}'
            )

    def propagate(
        self, features: Sequence[Tensor], flow: Tensor, *others: Tensor | None
    ) -> tuple[Tensor, ...]:
        return super().propagate(features, as_mmtracking_reads(flow), *others)


def as_mmtracking_reads(flow: Tensor) -> Tensor:
    """Return the flow (N, 2, H, W) in cells with which :func:`warp` reads the same positions as mmtracking's warp."""
    height, width = flow.shape[-2:]
    x, y = (torch.arange(side, device=flow.device) for side in (width, height))
    own = torch.stack(torch.meshgrid(x, y, indexing='xy')).to(flow)
    size = flow.new_tensor((width, height)).view(2, 1, 1)
    read = ((own + flow) * ((size - 1) / size)).clamp(min=0).minimum(size - 1)
    return read - own
