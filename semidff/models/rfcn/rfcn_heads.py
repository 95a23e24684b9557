"""R-FCN's heads, whose weights all lie ahead of the post-processing."""

from collections.abc import Mapping, Sequence

from mmdet.structures import SampleList
from torch import Tensor, nn

from semidff.models.spatial.head_family import HEAD_FAMILIES, HeadOutput, rows
from semidff.models.spatial.twin import twin
from semidff.models.spatial.two_stage_heads import TwoStageHeads

from .rfcn import RFCN, ScoreMaps


@HEAD_FAMILIES.register_module()
class RFCNHeads(TwoStageHeads):
    """Heads of R-FCN; raw outputs are the four :class:`~semidff.models.rfcn.rfcn.ScoreMaps`.

    All outputs are compared as they are, with means over all anchors and RoIs, as the paper does.
    """

    @classmethod
    def handles(cls, detector: nn.Module) -> bool:
        return isinstance(detector, RFCN)

    def raw_outputs(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        return self.detector.score_maps(inputs)._asdict()

    @property
    def output_modules(self) -> list[str]:
        return [
            'rpn_head.rpn_cls',
            'rpn_head.rpn_reg',
            'roi_head.bbox_head.conv_cls',
            'roi_head.bbox_head.conv_reg',
        ]

    def given_raw_outputs(self, raw: Mapping[str, Tensor]) -> nn.Module:
        maps = ScoreMaps(**raw)
        return twin(self.detector, extract_feat=lambda *_, **__: maps)

    def head_outputs(
        self, raw: Mapping[str, Tensor], samples: SampleList, proposals: list | None
    ) -> list[HeadOutput]:
        maps, head = ScoreMaps(**raw), self.dense_head
        scores, deltas = head(maps)
        softmax = 'sigmoid' if head.use_sigmoid_cls else 'softmax'
        outputs = [
            HeadOutput('rpn_cls', softmax, rows(scores, head.cls_out_channels)),
            HeadOutput('rpn_box', 'offsets', rows(deltas, head.bbox_coder.encode_size)),
        ]
        if proposals is not None:
            logits, boxes = self.detector.roi_head.forward(maps, proposals, samples)
            outputs += [
                HeadOutput('roi_cls', 'softmax', logits),
                HeadOutput('roi_box', 'offsets', boxes),
            ]
        return outputs
