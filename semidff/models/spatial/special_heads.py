"""Detectors whose heads return other outputs than lists of logits and box maps."""

from collections.abc import Callable, Sequence

import torch
from mmdet.models.dense_heads import CenterNetHead, TOODHead, YOLOV3Head
from mmdet.structures import SampleList
from torch import Tensor, nn

from .box_outputs import CENTER, LOGARITHM, distances, limited_exp, weighted
from .dense_heads import DenseHeads
from .fixed_shape import DenseHead
from .head_family import HEAD_FAMILIES, HeadOutput, Raw, levels, numbered, rows, twin


@HEAD_FAMILIES.register_module()
class CenterNetHeads(DenseHeads):
    """CenterNet (Zhou et al., 2019): a heat map; sizes and offsets, in cells, as one box output."""

    priority = 1
    # Its post-processing looks for local maxima among probabilities: rounded, neighbors are equal.
    # It calls `view` on the outputs, which have the order of the inputs.
    precise = contiguous = (CenterNetHead,)
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
        self, raw: Raw, samples: SampleList, proposals: list | None
    ) -> list[HeadOutput]:
        heat, sizes, offsets = self._outputs(raw)
        logits = rows(heat, heat[0].shape[1])
        size = rows(sizes, 2)
        values = torch.cat((rows(offsets, 2), size), 1)
        # An object is not smaller than a cell.
        unit = CENTER * size.detach().clamp(min=1).repeat(1, 2)
        return weighted(logits, HeadOutput('box', 'offsets', values, unit))


class _Recorder(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module, self.outputs = module, []

    def forward(self, maps: Tensor) -> Tensor:
        self.outputs.append(self.module(maps))
        return self.outputs[-1]


@HEAD_FAMILIES.register_module()
class TOODHeads(DenseHeads):
    """TOOD (Feng et al., ICCV 2021). Its head returns corners of boxes, in cells of the level.

    Raw outputs are the distances from the center of the cell to the edges instead, which can be
    propagated. Class scores are geometric means of two probabilities and are compared as binary
    distributions.
    """

    kinds, priority = (TOODHead,), 1
    known = DenseHead(
        TOODHead,
        distances,
        decode_level=lambda head, level, x: x * head.prior_generator.strides[level][0],
        decode=lambda head, priors, x: x,
        largest=lambda head: None,
    )
    probabilities = 'cls_scores'

    def _forward(self, head: nn.Module, inputs: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        scores, boxes = head(inputs)
        return [torch.logit(level.float(), eps=1e-6) for level in scores], boxes

    def raw_outputs(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        return self._converted(super().raw_outputs(inputs), torch.sub)

    def detector_on_raw(self, raw: Raw) -> nn.Module:
        return super().detector_on_raw(self._converted(raw, torch.add))

    def fixed_shape(self, detector: nn.Module, raw: Raw, geometry: Tensor) -> Tensor | None:
        return super().fixed_shape(detector, self._converted(raw, torch.add), geometry)

    def _converted(self, raw: Raw, change: Callable) -> dict[str, Tensor]:
        """Convert corners to distances (subtract the centers) or back (add them), in cells."""
        strides, boxes = self.dense_head.prior_generator.strides, []
        maps = levels('bbox_preds', raw)
        for level, anchors, stride in zip(maps, self._priors(maps), strides, strict=True):
            center = (anchors[:, :2] + anchors[:, 2:]) / 2 / stride[0]
            center = center.T.reshape(2, *level.shape[-2:])
            boxes.append(torch.cat((center - level[:, :2], change(level[:, 2:], center)), 1))
        return {**raw, **numbered('bbox_preds', boxes)}


@HEAD_FAMILIES.register_module()
class YOLOV3Heads(DenseHeads):
    """YOLOv3: logits of the center in the cell, logarithms of the size relative to the anchor,
    objectness and classes.
    """

    kinds, priority = (YOLOV3Head,), 1

    def detector_on_raw(self, raw: Raw) -> nn.Module:
        # The post-processing applies the sigmoid in place.
        return super().detector_on_raw({name: maps.clone() for name, maps in raw.items()})

    def head_outputs(
        self, raw: Raw, samples: SampleList, proposals: list | None
    ) -> list[HeadOutput]:
        head = self.dense_head
        maps = levels('pred_maps', raw)
        columns = 2, 2, 1, head.num_classes
        center, size, objectness, logits = rows(maps, head.num_attrib).split(columns, 1)
        anchors = [
            (base[:, 2:] - base[:, :2]).repeat(level[:, 0].numel(), 1) / stride
            for base, level, stride in zip(
                head.prior_generator.base_anchors, maps, head.featmap_strides, strict=True
            )
        ]
        cells = torch.cat(anchors).to(size) * limited_exp(size.detach())
        values = torch.cat((center.sigmoid(), size), 1)
        unit = torch.cat((CENTER * cells, torch.full_like(cells, LOGARITHM)), 1)
        boxes = HeadOutput('box', 'offsets', values, unit)
        return weighted(logits, boxes, objectness, objectness=True)
