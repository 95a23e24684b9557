"""Detectors whose heads return other outputs than lists of logits and box maps, and those of the DETR kind."""

from collections.abc import Callable, Mapping, Sequence

import torch
from mmdet.models import detectors
from mmdet.models.dense_heads import CenterNetHead, TOODHead, YOLOV3Head
from mmdet.structures import SampleList
from torch import Tensor, nn

from .box_outputs import CENTER, LOGARITHM, distances, limited_exp, weighted
from .dense_heads import ROI_INPUTS, DenseHeads, not_comparable
from .head_family import HEAD_FAMILIES, HeadFamily, HeadOutput, levels, numbered, rows, twin


@HEAD_FAMILIES.register_module()
class CenterNetHeads(DenseHeads):
    """CenterNet (Zhou et al., 2019): a heat map, sizes and offsets; the latter, in cells, are one box output."""

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


@HEAD_FAMILIES.register_module()
class TOODHeads(DenseHeads):
    """TOOD (Feng et al., ICCV 2021). Its head returns the corners of the boxes, in cells of the level.

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
        return self._converted(super().raw_outputs(inputs), torch.sub)

    def given_raw_outputs(self, raw: Mapping[str, Tensor]) -> nn.Module:
        return super().given_raw_outputs(self._converted(raw, torch.add))

    def head_outputs(
        self, raw: Mapping[str, Tensor], samples: SampleList, proposals: list | None
    ) -> list[HeadOutput]:
        scores, boxes = self._outputs(raw)
        logits = rows(scores, self.dense_head.cls_out_channels)
        return weighted(logits, distances(boxes, self.dense_head))

    def _converted(self, raw: Mapping[str, Tensor], change: Callable) -> dict[str, Tensor]:
        """Convert corners to distances (subtract the centers) or distances to corners (add them), in cells."""
        generator, boxes = self.dense_head.prior_generator, []
        for index, level in enumerate(levels('bbox_preds', raw)):
            size = level.shape[-2:]
            anchors = generator.single_level_grid_priors(size, index, device=level.device)
            center = (anchors[:, :2] + anchors[:, 2:]) / 2 / generator.strides[index][0]
            center = center.T.reshape(2, *size).to(level.dtype)
            boxes.append(torch.cat((center - level[:, :2], change(level[:, 2:], center)), 1))
        return {**raw, **numbered('bbox_preds', boxes)}


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


FIXED_QUERIES = (
    detectors.DETR,
    detectors.ConditionalDETR,
    detectors.DABDETR,
    detectors.DeformableDETR,
)
"""Detectors whose queries are weights, so that query i of the student corresponds to query i of the teacher."""


@HEAD_FAMILIES.register_module()
class DETRHeads(HeadFamily):
    """DETR, Conditional DETR, DAB-DETR and Deformable DETR.

    The transformer has no maps as outputs, so that the raw outputs are its inputs. The semantic loss compares the
    outputs of all decoder layers query by query. Where the encoder selects the queries (two-stage Deformable DETR,
    DINO), student and teacher have different queries, and only the regression loss applies.
    """

    propagates_outputs = False
    dense_head = None

    @classmethod
    def handles(cls, detector: nn.Module) -> bool:
        return isinstance(detector, detectors.DetectionTransformer)

    def raw_outputs(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        return numbered(ROI_INPUTS, inputs)

    def given_raw_outputs(self, raw: Mapping[str, Tensor]) -> nn.Module:
        inputs = levels(ROI_INPUTS, raw)
        return twin(self.detector, extract_feat=lambda *_, **__: inputs)

    def head_outputs(
        self, raw: Mapping[str, Tensor], samples: SampleList, proposals: list | None
    ) -> list[HeadOutput]:
        detector = self.detector
        if type(detector) not in FIXED_QUERIES or getattr(detector, 'as_two_stage', False):
            raise not_comparable(detector)
        head = detector.bbox_head
        outputs = head(**detector.forward_transformer(levels(ROI_INPUTS, raw), samples))
        # (decoder layers, N, queries, ...), boxes (cx, cy, w, h) relative to the image
        logits, boxes = (output.flatten(0, 2) for output in outputs)
        unit = CENTER * boxes.detach()[:, 2:].clamp(min=0.01).repeat(1, 2)
        boxes = HeadOutput('box', 'offsets', boxes, unit)
        return weighted(logits, boxes, softmax=not head.loss_cls.use_sigmoid)
