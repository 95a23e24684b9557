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
    padded_h, padded_w = _power_of_two(height), _power_of_two(width)
    # At least float32, under autocast too: half precision is too coarse for positions in a map of 64 cells.
    dtype = torch.promote_types(features.dtype, torch.float32)
    padded = F.pad(features.to(dtype), (0, padded_w - width, 0, padded_h - height))
    flow = flow.to(dtype)
    x = flow[:, 0] + torch.arange(width, device=flow.device)
    y = flow[:, 1] + torch.arange(height, device=flow.device)[:, None]
    grid = torch.stack(((x + 0.5) * (2 / padded_w) - 1, (y + 0.5) * (2 / padded_h) - 1), dim=-1)
    warped = F.grid_sample(padded, grid, mode='bilinear', padding_mode='zeros', align_corners=False)
    return warped.to(features.dtype)


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()
