"""Detectors of the DETR kind, whose transformer reads the features."""

from collections.abc import Mapping, Sequence

from mmdet.models.detectors import (
    DABDETR,
    DETR,
    ConditionalDETR,
    DeformableDETR,
    DetectionTransformer,
)
from mmdet.structures import SampleList
from torch import Tensor, nn

from .box_outputs import CENTER, weighted
from .dense_heads import ROI_INPUTS, not_comparable
from .head_family import HEAD_FAMILIES, HeadFamily, HeadOutput, levels, numbered, twin

FIXED_QUERIES = (DETR, ConditionalDETR, DABDETR, DeformableDETR)
"""Detectors whose queries are weights, so that query i of the student corresponds to query i of the teacher."""


@HEAD_FAMILIES.register_module()
class DETRHeads(HeadFamily):
    """DETR, Conditional DETR, DAB-DETR and Deformable DETR.

    The transformer has no maps as outputs, so that the raw outputs are its inputs. The semantic loss compares the
    outputs of all decoder layers query by query. Where the encoder selects the queries (two-stage Deformable DETR,
    DINO), student and teacher have different queries, and only the regression loss applies.
    """

    propagates_outputs = False

    @classmethod
    def handles(cls, detector: nn.Module) -> bool:
        return isinstance(detector, DetectionTransformer)

    dense_head = None

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
        return weighted(
            logits,
            HeadOutput('box', 'offsets', boxes, unit),
            softmax=not head.loss_cls.use_sigmoid,
        )
