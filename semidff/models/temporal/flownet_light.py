"""Flow network of depthwise separable convolutions for light detectors. Pure PyTorch.

The design follows Light Flow (Zhu et al. 2018, "Towards High Performance Video Object Detection for Mobiles"):
convolutions are depthwise separable, and upsampling is by nearest neighbor instead of deconvolution. It goes further in
three ways: the input has a quarter of the frame's size instead of half of it; skip connections are added instead of
concatenated; the flow is predicted once, at the flow network's own stride. There is no batch normalization.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semidff.models.precision import run_in_full_precision

from .refinement import FlowNetwork, FlowOutput, activate, cropped

_CHANNELS = (32, 64, 128, 256, 256)  # of the stages at width 1; each halves the map
_SECOND = (2, 3, 4)  # stages of two layers


class FlowNetLight(FlowNetwork):
    """Flow network for detectors that are too light for FlowNetS, predicting at stride 16 or 32.

    Args:
        stride: Stride of the feature flow and of the scale field in pixels of the frame.
        downsampling: Factor by which frames are downsampled, from the frame to the network's input.
        width: Factor on the channels of every layer.
        input_scale: See :class:`~semidff.models.temporal.refinement.FlowNetwork`.
        flow_scale: Cells of ``stride`` per unit of the prediction. None for units of 40 pixels of the frame.

    Raises:
        ValueError: If no stage of the encoder has this stride, or the width is not positive.
    """

    def __init__(
        self,
        *,
        stride: int = 16,
        downsampling: int = 4,
        width: float = 1.0,
        input_scale: float = 1 / 255,
        flow_scale: float | None = None,
    ) -> None:
        super().__init__(
            stride=stride,
            downsampling=downsampling,
            input_scale=input_scale,
            flow_scale=40 / stride if flow_scale is None else flow_scale,
        )
        strides = [downsampling * 2 ** (stage + 1) for stage in range(len(_CHANNELS))]
        if stride not in strides[:-1]:
            raise ValueError(
                f'with {downsampling=}, stride must be one of {strides[:-1]}, got {stride}'
            )
        if width <= 0:
            raise ValueError(f'width must be positive, got {width}')
        channels = [max(8, round(count * width)) for count in _CHANNELS]
        self.conv1 = nn.Conv2d(6, channels[0], 3, 2, 1)
        for stage in range(1, len(channels)):
            layers = [_separable(channels[stage - 1], channels[stage], 2)]
            if stage in _SECOND:
                layers.append(_separable(channels[stage], channels[stage], 1))
            setattr(self, f'conv{stage + 1}', nn.ModuleList(layers))
        self._merged = range(len(channels) - 2, strides.index(stride) - 1, -1)
        for stage in self._merged:
            setattr(self, f'lateral{stage + 1}', nn.Conv2d(channels[stage + 1], channels[stage], 1))
            setattr(self, f'merge{stage + 1}', _separable(channels[stage], channels[stage], 1))
        self.hidden_channels = channels[strides.index(stride)]
        self.predict_flow = nn.Conv2d(self.hidden_channels, 2, 3, padding=1)
        run_in_full_precision(self.predict_flow)

    def reset_parameters(self, std: float | None) -> None:
        """Initialize by He's method with any ``std``; the first flow is zero.

        The few inputs of a depthwise convolution would let the signal vanish with N(0, 0.02).
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # No activation follows a depthwise convolution.
                gain = 'linear' if module.groups > 1 else 'leaky_relu'
                nn.init.kaiming_normal_(module.weight, a=0.1, nonlinearity=gain)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.zeros_(self.predict_flow.weight)

    def encode(self, frames: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Return the features of the last stage, and those of the stages down to ``stride``."""
        outputs = [activate(self.conv1(frames))]
        for stage in range(1, len(_CHANNELS)):
            top = outputs[-1]
            for layer in getattr(self, f'conv{stage + 1}'):
                top = activate(layer(top))
            outputs.append(top)
        return top, [outputs[stage] for stage in self._merged]

    def forward(self, current: Tensor, key: Tensor) -> FlowOutput:
        """Estimate the flow from the current frame to the key frame, both from :meth:`prepare`.

        Returns:
            A :class:`FlowOutput` at ceil(H / ``stride``) x ceil(W / ``stride``), without coarse flows.
        """
        top, skips = self.encode(torch.cat((current, key), dim=1))
        for stage, skip in zip(self._merged, skips, strict=True):
            upper = getattr(self, f'lateral{stage + 1}')(top)
            upper = cropped(F.interpolate(upper, scale_factor=2.0), skip.shape[-2:])
            top = activate(getattr(self, f'merge{stage + 1}')(skip + upper))
        return FlowOutput(self.predict_flow(top) * self.flow_scale, top, ())


def _separable(channels: int, out_channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False),
        nn.Conv2d(channels, out_channels, 1),
    )
