"""FlowNetS with the output that Deep Feature Flow needs (DFF section 4 and Table 6; FlowNet, Dosovitskiy et al. 2015).

Pure PyTorch. Details that look like mistakes and are not:

- the frames are half-sized by 2x2 average pooling *inside* the network, so a frame is sent to the device once;
- deconvolutions are 4x4, stride 2; of their output of 2n + 2 rows the rows 1 .. size of the skip connection are
  kept, which for an odd size drops one row more than ``padding=1`` would;
- the flow is predicted at stride 8 of the image and *features*, not the flow, are pooled to stride 16;
- the last prediction is multiplied by 2.5: FlowNet predicts in units of 20 pixels of its half-size input, which are
  40 pixels of the image, which are 2.5 cells of stride 16.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# name, kernel, stride, channels at width 1 (DFF Table 6)
_ENCODER = (
    ('conv1', 7, 2, 64),
    ('conv2', 5, 2, 128),
    ('conv3', 5, 2, 256),
    ('conv3_1', 3, 1, 256),
    ('conv4', 3, 2, 512),
    ('conv4_1', 3, 1, 512),
    ('conv5', 3, 2, 512),
    ('conv5_1', 3, 1, 512),
    ('conv6', 3, 2, 1024),
    ('conv6_1', 3, 1, 1024),
)
_DECODER = (('conv5_1', 512), ('conv4_1', 256), ('conv3_1', 128), ('conv2', 64))


class FlowOutput(NamedTuple):
    """What a flow network returns.

    Attributes:
        flow: Feature flow (N, 2, h, w) in cells of the feature map's stride.
        hidden: The features it was predicted from (N, C, h, w); the scale field is their second reading.
        coarse_flows: Intermediate predictions, coarse to fine, in FlowNet's units of 20 half-size pixels.
    """

    flow: Tensor
    hidden: Tensor
    coarse_flows: Sequence[Tensor]


class FlowNetS(nn.Module):
    """FlowNet "Simple", at stride 16 of the image.

    Args:
        width: Factor on the number of channels of every layer; 1 is FlowNetS, 0.5 is FlowNet Half (DFF Table 7).
        input_scale: What normalised frames are multiplied by. The original divides mean-subtracted frames by 255,
            so 1 / 255 for frames of unit ``std`` and about 58 / 255 for frames normalised to ImageNet's deviation.
        flow_scale: Cells of the feature map per unit of the last prediction.
    """

    stride = 16

    def __init__(
        self, *, width: float = 1.0, input_scale: float = 1 / 255, flow_scale: float = 2.5
    ) -> None:
        super().__init__()
        if width <= 0:
            raise ValueError(f'width must be positive, got {width}')
        self.input_scale = input_scale
        self.flow_scale = flow_scale
        channels, previous = {}, 6
        for name, kernel, stride, full in _ENCODER:
            channels[name] = max(2, round(full * width))
            setattr(self, name, nn.Conv2d(previous, channels[name], kernel, stride, kernel // 2))
            previous = channels[name]
        for level, (skip, full) in enumerate(_DECODER):
            out = max(2, round(full * width))
            setattr(self, f'predict{level}', nn.Conv2d(previous, 2, 3, padding=1))
            setattr(self, f'deconv{level}', nn.ConvTranspose2d(previous, out, 4, 2, padding=1))
            setattr(self, f'upflow{level}', nn.ConvTranspose2d(2, 2, 4, 2, padding=1))
            previous = channels[skip] + out + 2
        self.hidden_channels = previous
        self.predict_flow = nn.Conv2d(previous, 2, 3, padding=1)

    def prepare(self, image: Tensor) -> Tensor:
        """Half-sizes and scales normalised frames (N, 3, H, W); the key frame's result can be kept."""
        return F.avg_pool2d(image, 2, ceil_mode=True) * self.input_scale

    def forward(self, current: Tensor, key: Tensor) -> FlowOutput:
        """Estimates the flow from the current frame to the key frame.

        Args:
            current: Current frames as :meth:`prepare` returns them, (N, 3, H / 2, W / 2).
            key: Key frames, likewise.

        Returns:
            A :class:`FlowOutput` at ceil(H / 16) x ceil(W / 16).
        """
        skips, top = {}, torch.cat((current, key), dim=1)
        for name, *_ in _ENCODER:
            top = skips[name] = F.leaky_relu(getattr(self, name)(top), 0.1)
        coarse_flows = []
        for level, (skip_name, _) in enumerate(_DECODER):
            skip = skips[skip_name]
            height, width = skip.shape[-2:]
            coarse = getattr(self, f'predict{level}')(top)
            upsampled = getattr(self, f'deconv{level}')(top)[..., :height, :width]
            upflow = getattr(self, f'upflow{level}')(coarse)[..., :height, :width]
            top = torch.cat((skip, F.leaky_relu(upsampled, 0.1), upflow), dim=1)
            coarse_flows.append(coarse)
        hidden = F.avg_pool2d(top, 2, ceil_mode=True)
        return FlowOutput(self._flow(hidden), hidden, coarse_flows)

    def _flow(self, hidden: Tensor) -> Tensor:
        # Under autocast too in full precision: half precision rounds positions to a quarter of a pixel.
        with torch.autocast(hidden.device.type, enabled=False):
            dtype = self.predict_flow.weight.dtype
            return self.predict_flow(hidden.to(dtype)) * self.flow_scale
