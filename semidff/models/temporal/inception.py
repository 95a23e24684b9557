"""The Inception and Reduction modules of FlowNet Inception (DFF Table 8; Szegedy et al. 2016). Pure PyTorch."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .refinement import activate


class Inception(nn.Module):
    """Inception module of up to four parallel branches; with ``pool``, DFF's Reduction module, which halves the map.

    Table 8 does not specify which layers of a Reduction have stride 2. Here these are the last layer of each branch,
    as in the module that DFF follows (Szegedy et al. 2016, Fig. 10), and the pooling. Every convolution has a bias
    and is followed by FlowNet's activation; there is no normalization, as in the tables of both papers.

    Args:
        channels: Input channels.
        single: Channels of the 1x1 branch; 0 for none.
        double: Channels of the two layers of the 1x1 - 3x3 branch.
        triple: Channels of the three layers of the 1x1 - 3x3 - 3x3 branch.
        pool: Channels of the branch of 3x3 max pooling - 1x1; 0 for none, and the map keeps its size.
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
        self.out_channels = single + double[-1] + triple[-1] + pool

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, ``channels``, H, W) to (N, ``out_channels``, H, W), with ``pool`` of half the size, rounded up."""
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
