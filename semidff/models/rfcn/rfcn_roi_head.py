"""RoI head of R-FCN: mmdet's standard RoI head with pooling *after* the last convolution."""

from mmdet.models.roi_heads import StandardRoIHead
from mmdet.registry import MODELS
from torch import Tensor

from .rfcn import ScoreMaps


@MODELS.register_module()
class RFCNRoIHead(StandardRoIHead):
    """RoI head around a :class:`~semidff.models.rfcn.rfcn_bbox_head.RFCNBBoxHead`, without RoI extractor."""

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
