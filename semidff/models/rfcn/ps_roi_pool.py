"""Position-sensitive RoI pooling operators (R-FCN, Dai et al. 2016).

``PSRoIAlign`` is torchvision's operator; ``PSRoIPool`` is, too, except at the border of the maps. ``ExactPSRoIPool`` is
the pooling of the original R-FCN and DFF: it rounds boxes to whole *pixels*, where PSRoIPool rounds them to whole
*cells* of 16 pixels.
"""

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn
from torchvision import ops

MODELS.register_module(name='PSRoIAlign', module=ops.PSRoIAlign, force=False)


@MODELS.register_module()
class PSRoIPool(ops.PSRoIPool):
    """torchvision's pooling, including the last row and the last column of the maps.

    torchvision's forward pass omits them (it clips bins at ``height - 1`` and ``width - 1``), its backward pass does
    not. Bins at the border then get a gradient that no change of the maps reduces, scores there grow without bound,
    and training diverges. Padding by one row and column of zeros moves the clipping to where no bin reaches; the
    gradient of the padding is dropped.

    Args:
        output_size: Bins per side, k.
        spatial_scale: Cells per pixel, 1 / stride.
    """

    def forward(self, maps: Tensor, rois: Tensor) -> Tensor:
        """Pool score maps.

        Args:
            maps: Position-sensitive maps (N, C * k * k, H, W), channel = (c * k + row) * k + column.
            rois: Rows of (image index, x1, y1, x2, y2) in pixels, within the image, (R, 5).

        Returns:
            Tensor of shape (R, C, k, k).
        """
        return super().forward(F.pad(maps, (0, 1, 0, 1)), rois)


@MODELS.register_module()
class ExactPSRoIPool(nn.Module):
    """Average over the cells that a bin touches, with the original's bins.

    Boxes are rounded to pixels, their far side is inclusive. A bin covers the cells from the floor of its start to
    the ceiling of its end, clipped to the map; an empty bin is 0. torchvision's operator gets each bin as a box of
    whole cells, which it does not round. Arguments are those of :class:`PSRoIPool`.
    """

    def __init__(self, output_size: int, spatial_scale: float) -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale

    def forward(self, maps: Tensor, rois: Tensor) -> Tensor:
        """Pool score maps; arguments and result as of :meth:`PSRoIPool.forward`."""
        k = self.output_size
        height, width = maps.shape[-2:]
        top, bottom = self._bins(rois[:, 2], rois[:, 4], height)
        left, right = self._bins(rois[:, 1], rois[:, 3], width)
        # One image per bin, k * k per image of the batch; padded as in PSRoIPool.
        of_bins = maps.unflatten(1, (-1, k * k)).transpose(1, 2).flatten(0, 1)
        image = rois[:, 0, None, None] * k**2 + torch.arange(k**2, device=rois.device).view(k, k)
        boxes = torch.stack(
            torch.broadcast_tensors(
                image, left[:, None, :], top[:, :, None], right[:, None, :], bottom[:, :, None]
            ),
            dim=-1,
        )
        mean = ops.ps_roi_pool(
            F.pad(of_bins, (0, 1, 0, 1)), boxes.flatten(0, 2).to(maps.dtype), 1, 1.0
        )
        empty = (bottom <= top)[:, :, None] | (right <= left)[:, None, :]
        mean = mean.view(len(rois), k, k, of_bins.size(1)).masked_fill(empty[..., None], 0)
        return mean.permute(0, 3, 1, 2)

    def _bins(self, low: Tensor, high: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Return the first and one-past-last cell of the k bins of each RoI along one axis, (R, k) each."""
        k = self.output_size
        start = _round(low.float()) * self.spatial_scale
        end = (_round(high.float()) + 1) * self.spatial_scale
        bin_size = (end - start).clamp(min=0.1) / k
        index = torch.arange(k, device=low.device, dtype=start.dtype)
        first = (index * bin_size[:, None] + start[:, None]).floor()
        last = ((index + 1) * bin_size[:, None] + start[:, None]).ceil()
        return first.clamp(0, size), last.clamp(0, size)


def _round(x: Tensor) -> Tensor:
    """Round half away from zero, as in C; torch.round rounds half to even."""
    return torch.sign(x) * (x.abs() + 0.5).floor()
