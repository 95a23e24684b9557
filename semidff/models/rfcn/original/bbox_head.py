"""R-FCN's position-sensitive head with the original's losses and detections."""

from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from semidff.models.rfcn.rfcn_bbox_head import RFCNBBoxHead

from .detections import detections


@MODELS.register_module()
class OriginalBBoxHead(RFCNBBoxHead):
    """The original's head: two groups of boxes, losses as one image per GPU has them, its own suppression.

    Args:
        ohem: RoIs per image that the loss is taken over; the box loss is divided by it even if there are fewer.
        box_groups: See the base class.
        kwargs: Likewise.
    """

    def __init__(self, *, ohem: int = 128, box_groups: int = 2, **kwargs) -> None:
        super().__init__(ohem=ohem, box_groups=box_groups, **kwargs)

    def loss(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        rois: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        bbox_weights: Tensor,
        reduction_override: str | None = None,
    ) -> dict:
        """Means over the images of class and box loss; arguments as in mmdet, R RoIs of N images."""
        rows = (cls_score, bbox_pred, rois, labels, label_weights, bbox_targets, bbox_weights)
        images = []
        for image in rois[:, 0].unique():
            own = rois[:, 0] == image
            losses = super().loss(*(row[own] for row in rows), reduction_override)
            losses['loss_bbox'] = losses['loss_bbox'] * min(1, int(own.sum()) / self.ohem)
            images.append(losses)
        return {name: sum(losses[name] for losses in images) / len(images) for name in images[0]}

    def _class_losses(self, cls_score: Tensor, labels: Tensor) -> Tensor:
        """The original keeps the logarithm finite."""
        probability = cls_score.softmax(1).gather(1, labels[:, None])[:, 0]
        return -(probability + 1e-14).log()

    def _predict_by_feat_single(
        self,
        roi: Tensor,
        cls_score: Tensor,
        bbox_pred: Tensor,
        img_meta: dict,
        rescale: bool = False,
        rcnn_test_cfg: ConfigDict | None = None,
    ) -> InstanceData:
        """Detections of one image from its RoIs (R, 5), logits (R, C + 1) and deltas (R, 4 * groups)."""
        raw = super()._predict_by_feat_single(roi, cls_score, bbox_pred, img_meta, rescale)
        if rcnn_test_cfg is None:
            return raw
        return detections(raw.bboxes, raw.scores[:, : self.num_classes], rcnn_test_cfg)
