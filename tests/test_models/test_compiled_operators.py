"""Modules that run compiled operators of mmcv."""

import torch
from mmcv.ops import modulated_deform_conv2d
from torch import nn

from semidff.models.channels_last import to_channels_last
from semidff.models.compiled_operators import uses_compiled_operators


class DeformableLayer(nn.Module):
    """A layer of a user that calls an operator as a function."""

    def __init__(self):
        super().__init__()
        self.offset = nn.Conv2d(8, 18, 3, padding=1)
        self.weight = nn.Parameter(torch.randn(8, 8, 3, 3))

    def forward(self, x):
        offset = self.offset(x)
        mask = torch.ones_like(offset[:, :9])
        return modulated_deform_conv2d(x, offset, mask, self.weight, None, 1, 1, 1, 1, 1)


def test_operators_that_a_user_calls_as_functions():
    assert uses_compiled_operators(DeformableLayer) and not uses_compiled_operators(nn.Conv2d)
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), DeformableLayer())
    images = torch.randn(1, 3, 16, 24)
    with torch.no_grad():
        expected = layers(images)
        to_channels_last(layers)
        found = layers(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected)
