"""Detectors with a region proposal network and an RoI head."""

from collections.abc import Sequence

from mmdet.structures import SampleList
from torch import Tensor, nn

from .dense_heads import ROI_INPUTS, DenseHeads
from .head_family import HEAD_FAMILIES, HeadOutputs, numbered


@HEAD_FAMILIES.register_module()
class TwoStageHeads(DenseHeads):
    """Two-stage detectors.

    Raw outputs are those of the RPN and the heads' inputs, which the RoI head reads (``roi_inputs_0``). The semantic
    loss compares the RPN's outputs anchor by anchor, and the RoI head's on the teacher's proposals.
    """

    @classmethod
    def handles(cls, detector: nn.Module) -> bool:
        return getattr(detector, 'with_rpn', False)

    @property
    def dense_head(self) -> nn.Module:
        return self.detector.rpn_head

    def raw_outputs(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        return super().raw_outputs(inputs) | numbered(ROI_INPUTS, inputs)

    def proposals(self, inputs: Sequence[Tensor], samples: SampleList) -> list:
        return self.dense_head.predict(inputs, samples, rescale=False)

    def head_outputs(
        self, inputs: Sequence[Tensor], samples: SampleList, proposals: list | None
    ) -> HeadOutputs:
        dense = super().head_outputs(inputs, samples, None)
        if proposals is None:
            return dense
        roi_logits, roi_boxes, *_ = self.detector.roi_head.forward(inputs, proposals, samples)
        return dense._replace(roi_logits=roi_logits, roi_boxes=roi_boxes)
