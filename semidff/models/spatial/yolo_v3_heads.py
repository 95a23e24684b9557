"""YOLOv3, whose head returns one map per level with all outputs."""

from collections.abc import Mapping

import torch
from mmdet.models.dense_heads import YOLOV3Head
from mmdet.structures import SampleList
from torch import Tensor, nn

from .box_outputs import CENTER, LOGARITHM, limited_exp, weighted
from .dense_heads import DenseHeads
from .head_family import HEAD_FAMILIES, HeadOutput, levels, rows


@HEAD_FAMILIES.register_module()
class YOLOV3Heads(DenseHeads):
    """YOLOv3: per anchor, logits of the center within the cell, logarithms of the size relative to the anchor,
    objectness and classes.
    """

    @classmethod
    def handles(cls, detector: nn.Module) -> bool:
        return isinstance(getattr(detector, 'bbox_head', None), YOLOV3Head)

    def given_raw_outputs(self, raw: Mapping[str, Tensor]) -> nn.Module:
        # The post-processing applies the sigmoid in place.
        return super().given_raw_outputs({name: maps.clone() for name, maps in raw.items()})

    def head_outputs(
        self, raw: Mapping[str, Tensor], samples: SampleList, proposals: list | None
    ) -> list[HeadOutput]:
        head = self.dense_head
        maps = levels('pred_maps', raw)
        center, size, objectness, logits = rows(maps, head.num_attrib).split(
            (2, 2, 1, head.num_classes), 1
        )
        anchors = [
            (base[:, 2:] - base[:, :2]).repeat(level[:, 0].numel(), 1) / stride
            for base, level, stride in zip(
                head.prior_generator.base_anchors, maps, head.featmap_strides, strict=True
            )
        ]
        cells = torch.cat(anchors).to(size) * limited_exp(size.detach())
        boxes = HeadOutput(
            'box',
            'offsets',
            torch.cat((center.sigmoid(), size), 1),
            torch.cat((CENTER * cells, torch.full_like(cells, LOGARITHM)), 1),
        )
        return weighted(logits, boxes, objectness, objectness=True)
