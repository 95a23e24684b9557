"""Position-sensitive head with the original's losses and detections."""

from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from semidff.models.rfcn.rfcn_bbox_head import RFCNBBoxHead

from .detections import detections


@MODELS.register_module()
class OriginalBBoxHead(RFCNBBoxHead):
    """The original's head: two groups of boxes, losses normalized per image, and its own suppression.

    Args:
        ohem: Number of hardest RoIs per image; the box loss is divided by it even if there are fewer RoIs.
        box_groups: Groups of four box outputs.
        kwargs: Arguments of :class:`~semidff.models.rfcn.rfcn_bbox_head.RFCNBBoxHead`.
    """

    def __init__(self, *, ohem: int = 128, box_groups: int = 2, **kwargs) -> None:
        super().__init__(ohem=ohem, box_groups=box_groups, **kwargs)

    def loss(
        self, cls_score: Tensor, bbox_pred: Tensor, rois: Tensor, *targets: Tensor, **kwargs
    ) -> dict:
        """Compute the means over the images of class and box loss, for R RoIs of N images; arguments as in mmdet."""
        rows = (cls_score, bbox_pred, rois, *targets)
        images = []
        for image in rois[:, 0].unique():
            own = rois[:, 0] == image
            losses = super().loss(*(row[own] for row in rows), **kwargs)
            losses['loss_bbox'] = losses['loss_bbox'] * min(1, int(own.sum()) / self.ohem)
            images.append(losses)
        return {name: sum(losses[name] for losses in images) / len(images) for name in images[0]}

    def _class_losses(self, cls_score: Tensor, labels: Tensor) -> Tensor:
        """Return the class loss of each RoI, (R,), with a finite logarithm as in the original."""
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
        """Return one image's detections from its RoIs (R, 5), logits (R, C + 1) and deltas (R, 4 * groups)."""
        raw = super()._predict_by_feat_single(roi, cls_score, bbox_pred, img_meta, rescale)
        if rcnn_test_cfg is None:
            return raw
        return detections(raw.bboxes, raw.scores[:, : self.num_classes], rcnn_test_cfg)
