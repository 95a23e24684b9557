import pytest
import torch
import torch.nn.functional as F

from semidff.models.temporal import warp

SIZES = [(1, 1), (1, 7), (5, 3), (12, 22), (13, 17), (38, 63), (64, 64)]


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_zero_flow_is_the_identity_exactly(size, dtype):
    features = random(2, 3, *size).to(dtype)
    assert torch.equal(warp(features, torch.zeros(2, 2, *size)), features)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('dx,dy', [(1, 0), (0, 1), (-2, 3), (4, -1)])
def test_whole_cells_move_exactly(size, dx, dy):
    height, width = size
    features = random(1, 3, *size)
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


@pytest.mark.parametrize('shape', [(1, 2, 4, 5), (2, 3, 4, 5), (2, 2, 5, 4)])
def test_wrong_shapes_are_named(shape):
    with pytest.raises(
        ValueError, match=r'\(2, 2, 4, 5\).*' + str(shape).replace('(', r'\(').replace(')', r'\)')
    ):
        warp(torch.zeros(2, 3, 4, 5), torch.zeros(shape))
