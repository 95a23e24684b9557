"""Average pooling equals torch's."""

import pytest
import torch
import torch.nn.functional as F

from semidff.models.temporal.pooling import average_pool


@pytest.mark.parametrize('size', [1, 2, 3, 4])
@pytest.mark.parametrize('sides', [(24, 36), (25, 38), (3, 5), (1, 2)])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_torch(size, sides, layout):
    maps = torch.randn(2, 3, *sides).contiguous(memory_format=layout).requires_grad_()
    weight = torch.randn_like(F.avg_pool2d(maps, size, ceil_mode=True))
    results = []
    for pool in (average_pool, lambda x, n: F.avg_pool2d(x, n, ceil_mode=True)):
        (gradient,) = torch.autograd.grad((pool(maps, size) * weight).sum(), maps)
        results.append((pool(maps, size), gradient))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)
