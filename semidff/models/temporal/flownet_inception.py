"""FlowNet Inception, about an eighth of FlowNet's operations (DFF section 4, Appendix A and Table 8). Pure PyTorch.

Table 8 specifies the encoder only. The rest was chosen to reproduce DFF's Table 2, where 1/r is
FLOPs(N_feat) / FLOPs(F). Counted are multiply-adds of all convolutions at 600 x 1000, with N_feat = ResNet (stride on
the 1x1 layers, as in the papers' weights) and the 3x3 reduction to 1024 channels, and F = flow network *and* the scale
field's 1x1 layer at stride 16; a deconvolution counts 4 x 4 multiply-adds per cell of its *input*. Counted this way,
the two fully specified flow networks agree with the table to 0.3 %. Without the scale field, Half would be off by 7 %.

============  ========  ===========  ===========  ========  ===========  ===========
1/r           R-50      with S       without S    R-101     with S       without S
============  ========  ===========  ===========  ========  ===========  ===========
FlowNet       9.20      9.20         9.55         12.71     12.72        13.20
Half          33.56     33.58        36.03        46.30     46.41        49.80
Inception     68.97     67.56        75.34        95.24     93.37        104.12
============  ========  ===========  ===========  ========  ===========  ===========

- The refinement part has an eighth of FlowNet's widths: 64, 32, 16, 8. With a quarter, 1/r would be 60.7 (R-50).
- Reduction modules have stride 2 in the last layer of each branch, see
  :class:`~semidff.models.temporal.inception.Inception`. In the first layers, 1/r would be 70.90.
- Skip connections start at the last layer of each size: conv2, conv3_3, conv4_2, conv5_2.
- No normalization, activations as in FlowNet.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .inception import Inception
from .refinement import FlowNetwork, activate


class FlowNetInception(FlowNetwork):
    """FlowNet with an encoder of Inception modules.

    Args:
        refinement_channels: Output channels of the deconvolutions at strides 32, 16, 8 and 4 of the half-size input.
        **kwargs: Arguments of :class:`~semidff.models.temporal.refinement.FlowNetwork`.
    """

    def __init__(
        self, *, refinement_channels: Sequence[int] = (64, 32, 16, 8), **kwargs: float
    ) -> None:
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
        self.add_refinement(512, (384, 256, 128, 64), refinement_channels)

    def encode(self, frames: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        conv1 = activate(self.conv1(frames))
        conv2 = self.conv2(F.max_pool2d(conv1, 3, 2, padding=1))
        conv3 = self.conv3_3(self.conv3_2(activate(self.conv3_1(conv2))))
        conv4 = self.conv4_2(self.conv4_1(conv3))
        conv5 = self.conv5_2(self.conv5_1(conv4))
        conv6 = self.conv6_2(self.conv6_1(conv5))
        return conv6, (conv5, conv4, conv3, conv2)
