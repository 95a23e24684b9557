"""CenterNet (Zhou et al., 2019): a heat map of centers, sizes and offsets."""

from collections.abc import Mapping

import torch
from mmdet.models.dense_heads import CenterNetHead
from mmdet.structures import SampleList
from torch import Tensor, nn

from .box_outputs import CENTER, weighted
from .dense_heads import DenseHeads
from .head_family import HEAD_FAMILIES, HeadOutput, rows


@HEAD_FAMILIES.register_module()
class CenterNetHeads(DenseHeads):
    """CenterNet. The heat map holds probabilities; sizes and offsets are in cells and compared as one box output."""

    @classmethod
    def handles(cls, detector: nn.Module) -> bool:
        return type(getattr(detector, 'bbox_head', None)) is CenterNetHead

    def head_outputs(
        self, raw: Mapping[str, Tensor], samples: SampleList, proposals: list | None
    ) -> list[HeadOutput]:
        heat, sizes, offsets = self._outputs(raw)
        logits = torch.logit(rows(heat, heat[0].shape[1]), eps=1e-6)
        size = rows(sizes, 2)
        values = torch.cat((rows(offsets, 2), size), 1)
        # An object is not smaller than a cell.
        unit = CENTER * size.detach().clamp(min=1).repeat(1, 2)
        return weighted(logits, HeadOutput('box', 'offsets', values, unit))
