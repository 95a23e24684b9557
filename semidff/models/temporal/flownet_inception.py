"""FlowNet Inception, about an eighth of FlowNet's operations (DFF, Appendix A and Table 8).

Table 8 specifies the encoder only. The rest was chosen to reproduce DFF's Table 2, where 1/r is
FLOPs(N_feat) / FLOPs(F). Counted are multiply-adds of all convolutions at 600 x 1000, with N_feat =
ResNet (stride on the 1x1 layers, as in the papers' weights) and the 3x3 reduction to 1024 channels,
and F = flow network *and* the scale field's 1x1 layer at stride 16; a deconvolution counts 4 x 4
multiply-adds per cell of its *input*. Counted this way, the two fully specified flow networks agree
with the table to 0.3 %. Without the scale field, Half would be off by 7 %.

============  ========  ===========  ===========  ========  ===========  ===========
1/r           R-50      with S       without S    R-101     with S       without S
============  ========  ===========  ===========  ========  ===========  ===========
FlowNet       9.20      9.20         9.55         12.71     12.72        13.20
Half          33.56     33.58        36.03        46.30     46.41        49.80
Inception     68.97     67.56        75.34        95.24     93.37        104.12
============  ========  ===========  ===========  ========  ===========  ===========

- The refinement part has an eighth of FlowNet's widths: 64, 32, 16, 8. With a quarter, 1/r would be
  60.7 (R-50).
- Reduction modules have stride 2 in the last layer of each branch, see :class:`Inception`. In the
  first layers, 1/r would be 70.90.
- Skip connections start at the last layer of each size: conv2, conv3_3, conv4_2, conv5_2.
- No normalization, activations as in FlowNet.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn

from .flow_networks import FlowNetwork, activate


@MODELS.register_module()
class FlowNetInception(FlowNetwork):
    """FlowNet with an encoder of Inception modules."""

    def __init__(self, **kwargs: float) -> None:
        super().__init__(**kwargs)
        self.conv1 = nn.Conv2d(6, 32, 7, 2, 3)
        self.conv2 = Inception(32, 0, (24, 32), (24, 32, 32))
        self.conv3_1 = nn.Conv2d(64, 128, 3, 2, 1)
        self.conv3_2 = Inception(128, 48, (32, 64), (8, 16, 16))
        self.conv3_3 = Inception(128, 48, (48, 64), (12, 16, 16))
        self.conv4_1 = Inception(128, 32, (112, 128), (28, 32, 32), pool=64)
        self.conv4_2 = Inception(256, 96, (112, 128), (28, 32, 32))
        self.conv5_1 = Inception(256, 48, (96, 192), (36, 48, 48), pool=96)
        self.conv5_2 = Inception(384, 144, (96, 192), (36, 48, 48))
        self.conv6_1 = Inception(384, 64, (192, 256), (48, 64, 64), pool=128)
        self.conv6_2 = Inception(512, 192, (192, 256), (48, 64, 64))
        self.add_refinement(512, (384, 256, 128, 64), (64, 32, 16, 8))

    def encode(self, frames: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        conv1 = activate(self.conv1(frames))
        conv2 = self.conv2(F.max_pool2d(conv1, 3, 2, padding=1))
        conv3 = self.conv3_3(self.conv3_2(activate(self.conv3_1(conv2))))
        conv4 = self.conv4_2(self.conv4_1(conv3))
        conv5 = self.conv5_2(self.conv5_1(conv4))
        conv6 = self.conv6_2(self.conv6_1(conv5))
        return conv6, (conv5, conv4, conv3, conv2)


class Inception(nn.Module):
    """Inception module; with ``pool``, DFF's Reduction module, which halves the map.

    Table 8 does not specify which layers of a Reduction have stride 2. Here these are the last
    layer of each branch, as in the module that DFF follows (Szegedy et al. 2016, Fig. 10), and the
    pooling. Every convolution has a bias and is followed by FlowNet's activation.

    Args:
        single: Channels of the 1x1 branch; 0 for none.
        double: Channels of the two layers of the 1x1 - 3x3 branch.
        triple: Channels of the three layers of the 1x1 - 3x3 - 3x3 branch.
        pool: Channels of the branch of 3x3 max pooling - 1x1; 0 for none, and the map keeps its
            size.
    """

    def __init__(
        self,
        channels: int,
        single: int,
        double: Sequence[int],
        triple: Sequence[int],
        pool: int = 0,
    ) -> None:
        super().__init__()
        stride = 2 if pool else 1
        self.branch1 = _branch(channels, [(1, single)], stride) if single else None
        self.branch2 = _branch(channels, zip((1, 3), double, strict=True), stride)
        self.branch3 = _branch(channels, zip((1, 3, 3), triple, strict=True), stride)
        self.branch_pool = _branch(channels, [(1, pool)], 1) if pool else None

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to the outputs of the branches, with ``pool`` of half the size."""
        outputs = [] if self.branch1 is None else [_run(self.branch1, features)]
        outputs += [_run(self.branch2, features), _run(self.branch3, features)]
        if self.branch_pool is not None:
            outputs.append(_run(self.branch_pool, F.max_pool2d(features, 3, 2, padding=1)))
        return torch.cat(outputs, dim=1)


def _branch(channels: int, layers: Sequence[tuple[int, int]], stride: int) -> nn.ModuleList:
    layers = list(layers)
    convolutions = nn.ModuleList()
    for index, (kernel, out) in enumerate(layers):
        step = stride if index == len(layers) - 1 else 1
        convolutions.append(nn.Conv2d(channels, out, kernel, step, kernel // 2))
        channels = out
    return convolutions


def _run(branch: nn.ModuleList, features: Tensor) -> Tensor:
    for convolution in branch:
        features = activate(convolution(features))
    return features
