"""CenterNet (Zhou et al., 2019): a heat map of centers, sizes and offsets."""

from collections.abc import Mapping, Sequence

import torch
from mmdet.models.dense_heads import CenterNetHead
from mmdet.structures import SampleList
from torch import Tensor, nn

from .box_outputs import CENTER, weighted
from .dense_heads import DenseHeads
from .head_family import HEAD_FAMILIES, HeadOutput, rows
from .twin import twin


@HEAD_FAMILIES.register_module()
class CenterNetHeads(DenseHeads):
    """CenterNet. Sizes and offsets are in cells and compared as one box output."""

    probabilities = 'center_heatmap_preds'

    def _forward(self, head: nn.Module, inputs: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        # Local maxima among probabilities that were converted back from logits would be others.
        recorder = _Recorder(head.heatmap_head)
        _, *others = twin(head, heatmap_head=recorder)(inputs)
        return recorder.outputs, *others

    @classmethod
    def handles(cls, detector: nn.Module) -> bool:
        return type(getattr(detector, 'bbox_head', None)) is CenterNetHead

    def head_outputs(
        self, raw: Mapping[str, Tensor], samples: SampleList, proposals: list | None
    ) -> list[HeadOutput]:
        heat, sizes, offsets = self._outputs(raw)
        logits = rows(heat, heat[0].shape[1])
        size = rows(sizes, 2)
        values = torch.cat((rows(offsets, 2), size), 1)
        # An object is not smaller than a cell.
        unit = CENTER * size.detach().clamp(min=1).repeat(1, 2)
        return weighted(logits, HeadOutput('box', 'offsets', values, unit))


class _Recorder(nn.Module):
    """Runs a module and keeps its outputs."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module, self.outputs = module, []

    def forward(self, maps: Tensor) -> Tensor:
        self.outputs.append(self.module(maps))
        return self.outputs[-1]
