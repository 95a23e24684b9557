"""Feature propagation by bilinear warping (DFF Eq. 1-3, semi-DFF Eq. 1).

Pure PyTorch. Two properties, which other ports of DFF lack, hold exactly: ``warp(x, 0) == x``, and a flow of whole
cells moves whole cells. ``grid_sample`` takes positions normalized to [-1, 1], and for maps of arbitrary size neither
corner convention maps a cell back onto itself without rounding errors. Therefore the map is padded to sides that are
powers of two, for which normalization and its inverse are exact in floating point. The zeros of the padding are the
values that DFF's kernel reads outside the map.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .constants import constants


def warp(features: Tensor, flow: Tensor) -> Tensor:
    """Warp key-frame features to the current frame.

    Args:
        features: Key-frame features of shape (N, C, H, W).
        flow: Feature flow of shape (N, 2, H, W) in cells: for each cell of the *current* frame, the offset (x, y)
            to its position in the *key* frame.

    Returns:
        Tensor of shape (N, C, H, W). Bilinear interpolation takes cells outside the map for zero.

    Raises:
        ValueError: If features and flow differ in batch size or in spatial size.
    """
    n, _, height, width = features.shape
    if flow.shape != (n, 2, height, width):
        raise ValueError(
            f'the feature flow must have shape {(n, 2, height, width)} to warp features of shape '
            f'{tuple(features.shape)}, got {tuple(flow.shape)}'
        )
    return sample(features, sampling_grid(flow.to(_precision(features))))


def sampling_grid(flow: Tensor, border: bool = False) -> Tensor:
    """Return the positions (N, H, W, 2) for :func:`sample` from a flow (N, 2, H, W); see :func:`warp`.

    With ``border``, cells outside the map repeat its border instead of being zero.
    """
    flow = flow.to(_precision(flow))
    cells, last, factor, minus_one = _cells(*flow.shape[-2:], flow.device, flow.dtype)
    position = flow + cells
    if border:
        position = position.clamp(min=0).minimum(last)
    return torch.addcmul(minus_one, position + 0.5, factor).permute(0, 2, 3, 1)


def sample(features: Tensor, grid: Tensor) -> Tensor:
    """Sample features (N, C, H, W) at positions (N, H, W, 2) from :func:`sampling_grid`."""
    height, width = features.shape[-2:]
    # At least float32, under autocast too: half precision is too coarse for positions in a map of 64 cells.
    dtype = _precision(features)
    beyond = (0, _power_of_two(width) - width, 0, _power_of_two(height) - height)
    padded = F.pad(features.to(dtype), beyond)
    warped = F.grid_sample(
        padded, grid.to(dtype), mode='bilinear', padding_mode='zeros', align_corners=False
    )
    return warped.to(features.dtype)


def _precision(tensor: Tensor) -> torch.dtype:
    return tensor.dtype if tensor.dtype.itemsize > 2 else torch.float32


@constants
def _cells(
    height: int, width: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Coordinates (2, H, W) of the cells, the last ones, and what maps positions in the padded map to [-1, 1]."""
    y = torch.arange(height, device=device, dtype=dtype)[:, None].expand(-1, width)
    x = torch.arange(width, device=device, dtype=dtype).expand(height, -1)
    sides = torch.tensor([_power_of_two(width), _power_of_two(height)], device=device, dtype=dtype)
    factor = 2 / sides.view(2, 1, 1)
    last = torch.tensor([width - 1, height - 1], device=device, dtype=dtype).view(2, 1, 1)
    return torch.stack((x, y)), last, factor, torch.full_like(factor, -1)


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()
