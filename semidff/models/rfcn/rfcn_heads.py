"""R-FCN's heads, whose weights all lie ahead of the post-processing."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from mmdet.structures import SampleList
from torch import Tensor, nn

from semidff.models.spatial.head_family import HEAD_FAMILIES, HeadOutput, replaced, rows
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
        maps = inputs if isinstance(inputs, ScoreMaps) else self.detector.score_maps(inputs)
        return maps._asdict()

    def given_raw_outputs(self, raw: Mapping[str, Tensor]) -> AbstractContextManager:
        return replaced(self.detector, 'extract_feat', ScoreMaps(**raw))

    def proposals(self, raw: Mapping[str, Tensor], samples: SampleList) -> list:
        return self.dense_head.predict(ScoreMaps(**raw), samples, rescale=False)

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
