"""Feature flow and scale field at the cells of a feature level.

Pure PyTorch. Cell ``i`` of a map of stride ``s`` is centered at pixel ``(i + 0.5) s`` of the frame. Maps with sides
rounded up extend beyond the frame by different amounts, so that resizing one map to the size of another misaligns
them: at height 600 by up to 8 pixels for a level of stride 8, and by up to 27 pixels for a level of stride 64.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .constants import constants
from .pooling import average_pool


def align(field: Tensor, stride: float, level_stride: float, size: Sequence[int]) -> Tensor:
    """Sample a field at the cells of a feature level.

    The field is interpolated bilinearly for finer levels and averaged for coarser ones.

    Args:
        field: Feature flow or scale field (N, C, h, w), in any unit.
        stride: Stride of the field in pixels.
        level_stride: Stride of the level in pixels.
        size: Height and width of the level in cells.

    Returns:
        Tensor of shape (N, C, *size); ``field`` itself if it has this stride and size. Cells of the level outside the
        field repeat the field's border.
    """
    height, width = size
    ratio, inverse = level_stride / stride, stride / level_stride
    if ratio != int(ratio) and inverse != int(inverse):
        return _interpolate(_interpolate(field, -1, ratio, width), -2, ratio, height)
    if ratio > 1:
        field = average_pool(field, int(ratio))
    elif ratio < 1:
        field = F.interpolate(field, scale_factor=inverse, mode='bilinear', align_corners=False)
    beyond = (0, max(width - field.shape[-1], 0), 0, max(height - field.shape[-2], 0))
    if any(beyond):
        field = F.pad(field, beyond, mode='replicate')
    return field[..., :height, :width] if field.shape[-2:] != (height, width) else field


def _interpolate(field: Tensor, dim: int, ratio: float, count: int) -> Tensor:
    """Interpolate along one axis, at ratios that torch's operator rounds to 1 on small maps."""
    low, high, weight = _neighbors(field.shape[dim] - 1, ratio, count, field.device, field.dtype)
    weight = weight if dim == -1 else weight[:, None]
    return torch.lerp(field.index_select(dim, low), field.index_select(dim, high), weight)


@constants
def _neighbors(
    last: int, ratio: float, count: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    position = ((torch.arange(count, device=device) + 0.5) * ratio - 0.5).clamp(0, last)
    low = position.floor().long()
    return low, (low + 1).clamp(max=last), (position - low).to(dtype)
