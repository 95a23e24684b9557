"""Neck of R-FCN, whose output is propagated (DFF section 4, "Feature Network")."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn


@MODELS.register_module()
class RFCNNeck(BaseModule):
    """A dilated 3x3 convolution with ReLU on the backbone's last level.

    Args:
        in_channels: Channels of the backbone's last level.
        out_channels: Channels of the features; the RPN reads the first ones, the position-sensitive head the last ones.
        dilation: Dilation and padding of the convolution.
        init_std: Standard deviation of the initial weights; the original's suits 2048 input channels.
    """

    def __init__(
        self,
        in_channels: int = 2048,
        out_channels: int = 1024,
        dilation: int = 6,
        init_std: float = 0.01,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation)
        nn.init.normal_(self.conv.weight, std=init_std)
        nn.init.zeros_(self.conv.bias)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor]:
        """Map the last level of the backbone (N, C_in, H, W) to one level (N, C_out, H, W)."""
        return (F.relu(self.conv(inputs[-1])),)
