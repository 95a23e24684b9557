"""R-FCN, the default spatial module (semi-DFF 3.2; Dai et al., NIPS 2016)."""

from collections.abc import Sequence
from typing import NamedTuple

from mmdet.models.detectors import TwoStageDetector
from mmdet.registry import MODELS
from torch import Tensor


class ScoreMaps(NamedTuple):
    """Outputs of R-FCN's four 1x1 convolutions; the heads accept them in place of features.

    Attributes:
        anchor_scores: Score maps of the RPN, (N, A * K, H, W).
        anchor_deltas: Box maps of the RPN, (N, A * 4, H, W).
        roi_scores: Position-sensitive score maps (N, (C + 1) * k * k, H, W).
        roi_deltas: Position-sensitive box maps (N, 4 * G * k * k, H, W), G groups of boxes.
    """

    anchor_scores: Tensor
    anchor_deltas: Tensor
    roi_scores: Tensor
    roi_deltas: Tensor


@MODELS.register_module()
class RFCN(TwoStageDetector):
    """Region-based fully convolutional network.

    Two-stage detector whose feature network (``backbone`` and :class:`~semidff.models.rfcn.rfcn_neck.RFCNNeck`) ends in
    one map that both heads share: the first channels go to the RPN, the last ones to the position-sensitive head.
    Arguments are those of mmdet's ``TwoStageDetector``.
    """

    def score_maps(self, features: Sequence[Tensor]) -> ScoreMaps:
        """Apply the convolutions of both heads to the one level of features (N, C, H, W)."""
        (level,) = features
        head = self.roi_head.bbox_head
        return ScoreMaps(*self.rpn_head.score_maps(level), *head.score_maps(level))
