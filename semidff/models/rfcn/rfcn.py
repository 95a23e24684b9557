"""R-FCN, the default spatial module (semi-DFF 3.2; Dai et al., NIPS 2016)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from mmdet.models.dense_heads import RPNHead
from mmdet.models.detectors import TwoStageDetector
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn


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

    Two-stage detector whose feature network (``backbone`` and :class:`RFCNNeck`) ends in one map that both heads share:
    the first channels go to the RPN, the last ones to the position-sensitive head. Arguments are those of mmdet's
    ``TwoStageDetector``.
    """

    def score_maps(self, features: Sequence[Tensor]) -> ScoreMaps:
        """Apply the convolutions of both heads to the one level of features (N, C, H, W)."""
        (level,) = features
        head = self.roi_head.bbox_head
        return ScoreMaps(*self.rpn_head.score_maps(level), *head.score_maps(level))


@MODELS.register_module()
class RFCNNeck(BaseModule):
    """Neck whose output is propagated (DFF section 4): a dilated 3x3 convolution with ReLU on the backbone's last map.

    Args:
        in_channels: Channels of the backbone's last level.
        out_channels: Channels of the features; the RPN reads the first ones, the position-sensitive head the last ones.
        dilation: Dilation and padding of the convolution.
        init_std: Standard deviation of the initial weights; the original's suits 2048 input channels.
    """

    def __init__(
        self,
        in_channels: int = 2048,
        out_channels: int = 1024,
        dilation: int = 6,
        init_std: float = 0.01,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation)
        nn.init.normal_(self.conv.weight, std=init_std)
        nn.init.zeros_(self.conv.bias)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor]:
        """Map the last level of the backbone (N, C_in, H, W) to one level (N, C_out, H, W)."""
        return (F.relu(self.conv(inputs[-1])),)


@MODELS.register_module()
class RFCNRPNHead(RPNHead):
    """mmdet's RPN without its 3x3 convolution, reading ``features[:, :in_channels]`` (DFF section 4)."""

    def _init_layers(self) -> None:
        anchors = self.num_base_priors
        self.rpn_cls = nn.Conv2d(self.in_channels, anchors * self.cls_out_channels, 1)
        self.rpn_reg = nn.Conv2d(self.in_channels, anchors * self.bbox_coder.encode_size, 1)

    def score_maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (N, A * K, H, W) and raw deltas (N, A * 4, H, W) of features (N, C, H, W)."""
        x = x[:, : self.in_channels]
        return self.rpn_cls(x), self.rpn_reg(x)

    def forward(self, x: Sequence[Tensor] | ScoreMaps) -> tuple[list[Tensor], list[Tensor]]:
        """Return scores and raw deltas per level, from features or from score maps."""
        maps = [x[:2]] if isinstance(x, ScoreMaps) else [self.score_maps(level) for level in x]
        # Decoding and losses are in full precision, under autocast too.
        scores, deltas = ([m.float() for m in levels] for levels in zip(*maps, strict=True))
        return scores, deltas

    def _predict_by_feat_single(
        self,
        cls_score_list,
        bbox_pred_list,
        score_factor_list,
        mlvl_priors,
        img_meta,
        cfg,
        **kwargs,
    ) -> InstanceData:
        """Select the ``nms_pre`` best anchors and leave the rest to mmdet, which would sort all of them.

        Among equal scores at the limit, the selected ones may be others than mmdet's.
        """
        cfg = self.test_cfg if cfg is None else cfg
        (scores,), (deltas,), (anchors,) = cls_score_list, bbox_pred_list, mlvl_priors
        rows = scores.permute(1, 2, 0).reshape(-1, self.cls_out_channels)
        if 1 < cfg.get('nms_pre', -1) < len(rows):
            logits = rows[:, 0] if self.use_sigmoid_cls else rows[:, 0] - rows[:, 1]
            best = logits.topk(cfg.nms_pre).indices
            scores = rows[best].T[:, None]
            deltas = deltas.permute(1, 2, 0).reshape(len(rows), -1)[best].T[:, None]
            anchors = anchors[best]
        return super()._predict_by_feat_single(
            [scores], [deltas], score_factor_list, [anchors], img_meta, cfg, **kwargs
        )


@MODELS.register_module()
class RFCNRoIHead(StandardRoIHead):
    """mmdet's RoI head around a :class:`~semidff.models.rfcn.rfcn_bbox_head.RFCNBBoxHead`, without RoI extractor."""

    def init_bbox_head(self, bbox_roi_extractor: dict | None, bbox_head: dict) -> None:
        """Build the head; ``bbox_roi_extractor`` must be None."""
        if bbox_roi_extractor is not None:
            raise ValueError(
                'R-FCN pools score maps, not features: leave bbox_roi_extractor out and set '
                f'bbox_head.pooling instead (got {bbox_roi_extractor})'
            )
        self.bbox_head = MODELS.build(bbox_head)

    def _bbox_forward(self, x: tuple[Tensor] | ScoreMaps, rois: Tensor) -> dict[str, Tensor]:
        """Return logits and deltas of RoIs (R, 5) on the one feature level, or on its score maps."""
        logits, deltas = self.bbox_head(x if isinstance(x, ScoreMaps) else x[0], rois)
        return dict(cls_score=logits, bbox_pred=deltas, bbox_feats=logits)
