import pytest
import torch
from torchvision.ops import ps_roi_align, ps_roi_pool

from semidff.models.rfcn import ExactPSRoIPool
from semidff.models.rfcn.rfcn import PSRoIAlign


def numbered(channels, k, height, width):
    """Maps whose value is 1000 channel + 10 row + column."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    channel = torch.arange(channels * k * k).view(1, -1, 1, 1)
    return (1000 * channel + 10 * y + x).float()


def test_bins_share_the_cells_they_touch():
    # One row, pixels 0 .. 23 are cells 0 .. 1.5: bins of 0.75 cells touch cells {0} and {0, 1}.
    pooled = ExactPSRoIPool(2, 1 / 16)(numbered(1, 2, 1, 4), torch.tensor([[0.0, 0, 0, 23, 15]]))
    assert pooled[0, 0].tolist() == [[0.0, 1000.5], [2000.0, 3000.5]]


def test_outside_the_map_is_zero():
    pool = ExactPSRoIPool(2, 1 / 16)
    rois = torch.tensor([[0.0, 200, 200, 300, 300], [0, -90, -90, -40, -40]])
    assert not pool(torch.ones(1, 4, 3, 3), rois).any()
    # Half outside: the far bins are empty.
    pooled = pool(torch.ones(1, 4, 3, 3), torch.tensor([[0.0, 32, 0, 63, 31]]))
    assert pooled[0, 0].tolist() == [[1, 0], [1, 0]]


def test_halves_round_away_from_zero():
    """x = 15.5 is pixel 16, the first one of cell 1; x = 16.5 is pixel 17 in the same cell."""
    maps = numbered(1, 1, 1, 4)
    rois = torch.tensor([[0.0, 15.5, 0, 31, 15], [0, 16.5, 0, 31, 15], [0, 15.4, 0, 31, 15]])
    assert ExactPSRoIPool(1, 1 / 16)(maps, rois).flatten().tolist() == [1, 1, 0.5]


@pytest.mark.parametrize('k', [1, 3, 7])
def test_agrees_with_torchvision_on_whole_cells(k):
    """Theirs rounds boxes to cells and never reads the map's last row and column."""
    maps = torch.randn(2, 2 * k * k, 10, 13)
    cells = torch.tensor([[0, 0, 0, 7, 7], [1, 2, 1, 11, 9], [0, 3, 3, 4, 5]]).float()
    far = torch.tensor([0.0, 0, 0, 1, 1])
    theirs = ps_roi_pool(maps, cells * torch.tensor([1, 16, 16, 16, 16]), k, 1 / 16)
    ours = ExactPSRoIPool(k, 1 / 16)(maps, cells * torch.tensor([1, 16, 16, 16, 16]) - far)
    assert torch.allclose(ours, theirs, atol=1e-5)


BORDER = torch.tensor(
    # the whole map; at its right and lower border; a bin that is only last cells; nothing but the
    # corner
    [[0.0, 0, 0, 96, 80], [1, 20, 0, 96, 79], [0, 70, 50, 96, 80], [1, 95, 79, 96, 80]]
)


@pytest.mark.parametrize('k', [2, 3])
def test_gradients_at_the_border(k):
    """Where torchvision's own forward and backward pass disagree."""
    maps = torch.randn(2, k * k, 5, 6, dtype=torch.float64, requires_grad=True)
    pool = ExactPSRoIPool(k, 1 / 16)
    assert torch.autograd.gradcheck(lambda m: pool(m, BORDER.double()), (maps,))


@pytest.mark.parametrize(('k', 'points'), [(1, 1), (2, 3), (3, 2), (7, 2), (7, 0)])
@pytest.mark.parametrize('stride', [4, 16])
def test_align_is_torchvisions(k, points, stride):
    """Values and gradients; some RoIs are partly or wholly outside of the maps, or empty."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 4 * k * k, 20, 30, generator=generator, requires_grad=True)
    low, high = torch.rand(2, 60, 2, generator=generator).mul(600).sub(60).sort(0).values
    high[:3] = low[:3]
    rois = torch.cat([torch.arange(60.0)[:, None] % 3, low, high], 1)
    # It divides by zero where a box is empty and the number of points depends on its size.
    theirs = ps_roi_align(maps, rois, k, 1 / stride, points).nan_to_num()
    ours = PSRoIAlign(k, 1 / stride, points)(maps, rois)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    weights = torch.randn(theirs.shape, generator=generator)
    mine, other = (torch.autograd.grad((x * weights).sum(), maps)[0] for x in (ours, theirs))
    other = other.nan_to_num()
    torch.testing.assert_close(mine, other, rtol=0, atol=1e-5 * other.abs().max().item())


def test_no_rois():
    pooled = ExactPSRoIPool(3, 1 / 16)(torch.ones(1, 18, 4, 4), torch.zeros(0, 5))
    assert pooled.shape == (0, 2, 3, 3)
