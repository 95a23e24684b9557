import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from semidff.models.temporal import warp
from semidff.models.temporal.warp import MapSampler

SIZES = [(1, 1), (1, 7), (5, 3), (12, 22), (13, 17), (38, 63), (64, 64)]


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(params=['contiguous', 'channels-last'])
def ordered(request):
    """Puts maps into an order; channels-last ones of 64 channels have another operator."""
    last = request.param == 'channels-last'
    order = torch.channels_last if last else torch.contiguous_format
    with torch.set_grad_enabled(not last):
        yield lambda maps: maps.contiguous(memory_format=order)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_zero_flow_is_the_identity_exactly(size, dtype, ordered):
    features = ordered(random(2, 64, *size).to(dtype))
    assert torch.equal(warp(features, torch.zeros(2, 2, *size)), features)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('dx,dy', [(1, 0), (0, 1), (-2, 3), (4, -1)])
def test_whole_cells_move_exactly(size, dx, dy, ordered):
    height, width = size
    features = ordered(random(1, 64, *size))
    flow = torch.tensor([dx, dy]).float().view(1, 2, 1, 1).expand(1, 2, *size)
    expected = torch.zeros_like(features)
    for y in range(height):
        for x in range(width):
            if 0 <= y + dy < height and 0 <= x + dx < width:
                expected[..., y, x] = features[..., y + dy, x + dx]
    assert torch.equal(warp(features, flow), expected)


def test_half_a_cell_is_the_mean_and_the_outside_is_zero():
    features = torch.tensor([[[[2.0, 4.0, 8.0]]]])
    flow = torch.zeros(1, 2, 1, 3)
    flow[:, 0] = 0.5
    assert warp(features, flow).flatten().tolist() == [3.0, 6.0, 4.0]


@pytest.mark.parametrize('size', [(5, 7), (12, 22), (38, 63)])
def test_agrees_with_grid_sample_at_aligned_corners(size):
    height, width = size
    features, flow = random(2, 4, *size), 3 * random(2, 2, *size, seed=1)
    x = flow[:, 0] + torch.arange(width)
    y = flow[:, 1] + torch.arange(height)[:, None]
    grid = torch.stack((2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1), dim=-1)
    reference = F.grid_sample(features, grid, padding_mode='zeros', align_corners=True)
    assert torch.allclose(warp(features, flow), reference, atol=2e-5)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('border', [False, True])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_channels_last_maps_are_sampled_alike_and_stay_channels_last(size, border, dtype):
    features, flow = random(3, 64, *size).to(dtype), 4 * random(3, 2, *size, seed=1)
    expected = MapSampler(flow, border)(features)
    with torch.no_grad():
        last = features.contiguous(memory_format=torch.channels_last)
        sampler = MapSampler(flow, border)
        assert any('embedding_bag' in name for name in operators(sampler, last)) == (size != (1, 1))
        found = sampler(last)
    tolerance = 1e-2 if dtype == torch.bfloat16 else 2e-5
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize('far', [1e4, 1e30, float('inf')])
def test_positions_far_outside_are_zero_or_undefined(far, ordered):
    flow = torch.full((1, 2, 3, 5), far)
    flow[:, 1] = -far
    warped = warp(ordered(torch.ones(1, 64, 3, 5)), flow)
    assert not (warped if math.isfinite(far) else warped.nan_to_num()).any()


def test_few_channels_are_sampled_by_grid_sample():
    features = random(1, 63, 5, 7).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        names = operators(MapSampler(random(1, 2, 5, 7, seed=1)), features)
    assert any('grid' in name for name in names)
    assert not any('embedding_bag' in name for name in names)


def test_one_graph_holds_the_whole_warp():
    features, flow = random(1, 3, 6, 9), random(1, 2, 6, 9, seed=1)
    compiled = torch.compile(warp, fullgraph=True, backend='eager')
    assert torch.equal(compiled(features, flow), warp(features, flow))


def test_gradients():
    features = random(2, 2, 4, 5, dtype=torch.float64).requires_grad_()
    # Away from whole cells, where a bilinear sample has a corner.
    flow = random(2, 2, 4, 5, seed=1, dtype=torch.float64)
    flow = (flow.floor() + 0.3 + 0.4 * flow.frac().abs()).requires_grad_()
    assert torch.autograd.gradcheck(warp, (features, flow))


def test_no_gradient_far_outside():
    flow = torch.full((1, 2, 3, 3), 50.0, requires_grad=True)
    warped = warp(torch.ones(1, 1, 3, 3), flow)
    warped.sum().backward()
    assert not warped.any() and not flow.grad.any()


class Warp(torch.nn.Module):
    def forward(self, features, flow):
        return warp(features, flow)


def test_cells_are_kept_for_the_next_frame_in_every_mode():
    """Constants made for prediction serve training, and those of an exported graph are not kept."""
    features, flow = random(1, 2, 11, 13), random(1, 2, 11, 13, seed=1)
    exported = torch.export.export(Warp(), (features, flow)).module()(features, flow)
    with torch.inference_mode():
        predicted = warp(features, flow)
    flow.requires_grad_()
    trained = warp(features, flow)
    trained.sum().backward()
    assert torch.equal(trained, predicted) and torch.equal(trained, exported)
    assert flow.grad.any()


def operators(function, *arguments):
    """Names of the operators that a call launches."""

    class Record(TorchDispatchMode):
        def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
            names.append(str(operator))
            return operator(*args, **(kwargs or {}))

    names = []
    with Record():
        function(*arguments)
    return names


def test_the_next_frame_makes_no_grid():
    features, flow = random(1, 2, 9, 14), random(1, 2, 9, 14, seed=1)
    first, second = (operators(warp, features, flow) for _ in range(2))
    assert any('arange' in name for name in first)
    assert not any('arange' in name for name in second) and len(second) <= 6


@pytest.mark.parametrize('channels', [3, 64])
def test_one_key_frame_serves_all_frames(channels):
    """Both ways to sample: by ``grid_sample``, and as sums of rows."""
    features = random(1, channels, 9, 14).to(memory_format=torch.channels_last)
    flow = random(4, 2, 9, 14, seed=1)
    with torch.no_grad():
        given = warp(features, flow)
        expected = torch.cat([warp(features, one[None]) for one in flow])
    assert torch.equal(given, expected)
