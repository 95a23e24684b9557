"""Average pooling equals torch's."""

import pytest
import torch
import torch.nn.functional as F

from semidff.models.temporal.warp import average_pool


@pytest.mark.parametrize('size', [1, 2, 3, 4])
@pytest.mark.parametrize('sides', [(24, 36), (25, 38), (3, 5), (1, 2)])
@pytest.mark.parametrize('channels', [3, 16])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_torch(size, sides, channels, layout):
    maps = torch.randn(2, channels, *sides).contiguous(memory_format=layout).requires_grad_()
    weight = torch.randn_like(F.avg_pool2d(maps, size, ceil_mode=True))
    results = []
    for pool in (average_pool, lambda x, n: F.avg_pool2d(x, n, ceil_mode=True)):
        (gradient,) = torch.autograd.grad((pool(maps, size) * weight).sum(), maps)
        results.append((pool(maps, size), gradient))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


def test_many_channels_stay_channels_last():
    maps = torch.randn(1, 16, 25, 38).contiguous(memory_format=torch.channels_last)
    assert average_pool(maps, 2).is_contiguous(memory_format=torch.channels_last)


def test_traced():
    maps = torch.randn(1, 3, 25, 38)
    traced = torch.jit.trace(lambda x: average_pool(x, 2), torch.randn(1, 3, 16, 16))
    assert torch.equal(traced(maps), F.avg_pool2d(maps, 2, ceil_mode=True))
