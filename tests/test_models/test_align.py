"""Fields are sampled at the cells of a feature level; average pooling equals torch's."""

import math

import pytest
import torch
import torch.nn.functional as F

from semidff.models.temporal.warp import align, average_pool

STRIDE = 16


def positions(size: tuple[int, int], stride: float) -> torch.Tensor:
    """(1, 2, h, w) pixel coordinates x, y of the cells of a map."""
    y, x = ((torch.arange(n) + 0.5) * stride for n in size)
    return torch.stack((x.expand(len(y), -1), y[:, None].expand(-1, len(x))))[None]


def cells(frame: tuple[int, int], stride: float) -> tuple[int, int]:
    return tuple(math.ceil(side / stride) for side in frame)


@pytest.mark.parametrize('frame', [(600, 1000), (64, 96), (608, 1024)])
@pytest.mark.parametrize('stride', [4, 8, 14, 16, 32, 64, 128])
def test_a_linear_field_keeps_its_values_at_every_level(frame, stride):
    field = positions(cells(frame, STRIDE), STRIDE)
    size = cells(frame, stride)
    found = align(field, STRIDE, stride, size)
    assert found.shape[-2:] == size
    # Interpolation is exact between the first and the last cell of the field, averages where no
    # cell is missing.
    expected = positions(size, stride)
    covered = torch.tensor([field.shape[-1], field.shape[-2]]).view(2, 1, 1) * STRIDE
    margin = max(stride, STRIDE) / 2
    inside = ((expected >= margin) & (expected <= covered - margin)).all(1)
    assert inside.any() or min(size) == 1
    difference = (found - expected).abs().amax(1)
    assert difference[inside].numel() == 0 or difference[inside].max() < 1e-3


def test_the_same_cells_are_returned_as_they_are():
    field = torch.rand(1, 2, 38, 63)
    assert align(field, 16, 16, (38, 63)) is field


def test_cells_beyond_the_field_repeat_its_border():
    field = torch.rand(1, 1, 2, 3)
    found = align(field, 16, 16, (4, 3))
    assert torch.equal(found[..., 2:, :], field[..., 1:, :].expand(-1, -1, 2, -1))


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
