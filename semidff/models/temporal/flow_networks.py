"""FlowNetS and FlowNet Half, and what all flow networks of Deep Feature Flow share.

DFF section 4 and Tables 6-8; the refinement part is that of FlowNet (Dosovitskiy et al. 2015, Fig.
3). Details that look like mistakes and are not:

- frames are downsampled by average pooling *inside* the network, to half size in the papers, so a
  frame is sent to the device once;
- deconvolutions are 4x4 with stride 2. Of their 2n + 2 output rows, rows 1 .. size of the skip
  connection are kept, which for an odd size drops one row more than ``padding=1`` would;
- the last features have stride 4 of the input (8 of the image at half size); the *features*, not
  the flow, are pooled to twice this stride, unless a flow of this stride is asked for;
- the last prediction is multiplied by 2.5: FlowNet predicts in units of 20 pixels of its half-size
  input, which are 40 pixels of the image, or 2.5 cells of stride 16.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn

from semidff.models.precision import run_in_full_precision

from .warp import average_pool, cropped

activate = partial(F.leaky_relu, negative_slope=0.1)
"""FlowNet's activation, after every layer except predictions and their upsampling."""

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
_SKIPS = ('conv5_1', 'conv4_1', 'conv3_1', 'conv2')
_REFINEMENT = (512, 256, 128, 64)


class FlowOutput(NamedTuple):
    """Output of a flow network."""

    flow: Tensor  # feature flow (N, 2, h, w) in cells of the feature map's stride
    hidden: Tensor  # features (N, C, h, w) that flow and scale field are predicted from
    coarse_flows: Sequence[Tensor]  # coarse to fine, in FlowNet's units of 20 pixels of the input


class FlowNetwork(nn.Module, ABC):
    """An encoder, by subclasses, which then call :meth:`add_refinement`, and the refinement part.

    Args:
        stride: Stride of the feature flow and of the scale field in pixels of the frame: 16, as in
            the papers, or 8, which follows the outlines of small objects more closely; with another
            ``downsampling``, 4 or 8 times it.
        downsampling: Factor by which frames are downsampled, from the frame to the network's input.
            4 in place of the papers' 2 makes the network about four times as fast, with ``stride``
            16 or 32.
        input_scale: Factor on normalized frames. The original divides mean-subtracted frames by
            255: 1 / 255 for frames with unit ``std``, about 58 / 255 for frames divided by
            ImageNet's standard deviation.
        flow_scale: Cells of ``stride`` per unit of the last prediction. None for FlowNet's unit of
            20 pixels of its input.

    Attributes:
        unit: FlowNet's unit in pixels of the frame.
    """

    def __init__(
        self,
        *,
        stride: int = 16,
        downsampling: int = 2,
        input_scale: float = 1 / 255,
        flow_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.downsampling = downsampling
        self.input_scale = input_scale
        self.unit = 20 * downsampling
        self.flow_scale = self.unit / stride if flow_scale is None else flow_scale

    def add_refinement(self, top: int, skips: Sequence[int], widths: Sequence[int]) -> None:
        """Add the layers of the refinement part and of the last prediction.

        Args:
            top: Channels of the encoder's last output, at stride 64 of the input.
            skips, widths: Channels of the skip connections and of the deconvolutions at strides 32,
                16, 8 and 4.
        """
        strides = 4 * self.downsampling, 8 * self.downsampling
        if self.stride not in strides:
            raise ValueError(
                f'with downsampling={self.downsampling}, stride must be {strides[0]} or '
                f'{strides[1]}, got {self.stride}'
            )
        for level, (skip, width) in enumerate(zip(skips, widths, strict=True)):
            setattr(self, f'predict{level}', nn.Conv2d(top, 2, 3, padding=1))
            setattr(self, f'deconv{level}', nn.ConvTranspose2d(top, width, 4, 2, padding=1))
            setattr(self, f'upflow{level}', nn.ConvTranspose2d(2, 2, 4, 2, padding=1))
            top = skip + width + 2
        self.hidden_channels = top
        self.predict_flow = nn.Conv2d(top, 2, 3, padding=1)
        # Half precision rounds positions to a quarter of a pixel.
        run_in_full_precision(self.predict_flow)

    def reset_parameters(self, std: float | None) -> None:
        """Initialize weights from N(0, ``std``), or by He's method for None; biases are 0."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                if std is None:
                    nn.init.kaiming_normal_(module.weight, a=0.1, nonlinearity='leaky_relu')
                else:
                    nn.init.normal_(module.weight, std=std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @abstractmethod
    def encode(self, frames: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Map downsampled current and key frames (N, 6, h, w) to features and skip connections.

        The skip connections are at strides 32, 16, 8 and 4 of the input.
        """

    def prepare(self, image: Tensor) -> Tensor:
        """Downsample normalized frames (N, 3, H, W) and scale them."""
        return average_pool(image, self.downsampling) * self.input_scale

    def forward(self, current: Tensor, key: Tensor) -> FlowOutput:
        """Estimate the flow from current frames to key frames, both from :meth:`prepare`.

        The result has ceil(H / ``stride``) x ceil(W / ``stride``) cells.
        """
        hidden, coarse_flows = self.refine(current, key)
        return FlowOutput(self.predict_flow(hidden) * self.flow_scale, hidden, coarse_flows)

    def refine(self, current: Tensor, key: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the last features at ``stride``, and the coarse flows; see :meth:`forward`."""
        top, skips = self.encode(torch.cat((current, key), dim=1))
        coarse_flows = []
        for level, skip in enumerate(skips):
            size = skip.shape[-2:]
            coarse = getattr(self, f'predict{level}')(top)
            upsampled = cropped(getattr(self, f'deconv{level}')(top), size)
            upflow = cropped(getattr(self, f'upflow{level}')(coarse), size)
            top = torch.cat((skip, activate(upsampled), upflow), dim=1)
            coarse_flows.append(coarse)
        finest = self.stride == 4 * self.downsampling
        return top if finest else average_pool(top, 2), coarse_flows


@MODELS.register_module()
class FlowNetS(FlowNetwork):
    """FlowNet "Simple": ten convolutions and the refinement part.

    ``width`` is a factor on the channels of every layer: 1 for FlowNetS, 0.5 for FlowNet Half (DFF
        Table 7).
    """

    def __init__(self, *, width: float = 1.0, **kwargs: float) -> None:
        super().__init__(**kwargs)
        channels, previous = {}, 6
        for name, kernel, stride, full in _ENCODER:
            channels[name] = _scaled(full, width)
            setattr(self, name, nn.Conv2d(previous, channels[name], kernel, stride, kernel // 2))
            previous = channels[name]
        skips = [channels[name] for name in _SKIPS]
        self.add_refinement(previous, skips, [_scaled(full, width) for full in _REFINEMENT])

    def encode(self, frames: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        outputs, top = {}, frames
        for name, *_ in _ENCODER:
            top = outputs[name] = activate(getattr(self, name)(top))
        return top, [outputs[name] for name in _SKIPS]


def _scaled(channels: int, width: float) -> int:
    return max(2, round(channels * width))
