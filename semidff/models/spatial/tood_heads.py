"""TOOD (Feng et al., ICCV 2021), whose head decodes boxes and probabilities itself."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from mmdet.models.dense_heads import TOODHead
from mmdet.structures import SampleList
from torch import Tensor, nn

from .box_outputs import distances, weighted
from .dense_heads import DenseHeads
from .head_family import HEAD_FAMILIES, HeadOutput, levels, numbered, rows


@HEAD_FAMILIES.register_module()
class TOODHeads(DenseHeads):
    """TOOD. Its head returns the corners of the boxes, in cells of the level.

    Raw outputs are the distances from the center of the cell to the edges instead, which can be propagated. Class
    scores are geometric means of two probabilities and are compared as binary distributions.
    """

    probabilities = 'cls_scores'

    def _forward(self, head: nn.Module, inputs: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        scores, boxes = head(inputs)
        return [torch.logit(level.float(), eps=1e-6) for level in scores], boxes

    @classmethod
    def handles(cls, detector: nn.Module) -> bool:
        return isinstance(getattr(detector, 'bbox_head', None), TOODHead)

    def raw_outputs(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        raw = super().raw_outputs(inputs)
        boxes = [
            torch.cat((center - level[:, :2], level[:, 2:] - center), 1)
            for level, center in self._with_centers(raw)
        ]
        return raw | numbered('bbox_preds', boxes)

    def given_raw_outputs(self, raw: Mapping[str, Tensor]) -> nn.Module:
        boxes = [
            torch.cat((center - level[:, :2], level[:, 2:] + center), 1)
            for level, center in self._with_centers(raw)
        ]
        return super().given_raw_outputs(dict(raw) | numbered('bbox_preds', boxes))

    def head_outputs(
        self, raw: Mapping[str, Tensor], samples: SampleList, proposals: list | None
    ) -> list[HeadOutput]:
        scores, boxes = self._outputs(raw)
        logits = rows(scores, self.dense_head.cls_out_channels)
        return weighted(logits, distances(boxes, self.dense_head))

    def _with_centers(self, raw: Mapping[str, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the box maps with the centers (2, H, W) of their cells, in cells."""
        generator = self.dense_head.prior_generator
        for index, level in enumerate(levels('bbox_preds', raw)):
            size = level.shape[-2:]
            anchors = generator.single_level_grid_priors(size, index, device=level.device)
            centers = (anchors[:, :2] + anchors[:, 2:]) / 2 / generator.strides[index][0]
            yield level, centers.T.reshape(2, *size).to(level.dtype)
