"""Position-sensitive head with the original's losses and detections."""

import torch
from mmcv.ops import batched_nms
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from semidff.models.rfcn.rfcn_bbox_head import RFCNBBoxHead


@MODELS.register_module()
class OriginalBBoxHead(RFCNBBoxHead):
    """The original's head: two groups of boxes, losses normalized per image, and its own suppression.

    Args:
        ohem: Number of hardest RoIs per image; the box loss is divided by it even if there are fewer RoIs.
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
        self, *args, rcnn_test_cfg: ConfigDict | None = None, **kwargs
    ) -> InstanceData:
        """Return one image's detections, or without settings all boxes; arguments as in mmdet."""
        raw = super()._predict_by_feat_single(*args, **kwargs)
        if rcnn_test_cfg is None:
            return raw
        return detections(raw.bboxes, raw.scores[:, : self.num_classes], rcnn_test_cfg)


def detections(boxes: Tensor, scores: Tensor, cfg: ConfigDict) -> InstanceData:
    """Suppress boxes class by class, then limit their number per image.

    mmdet suppresses all classes in one call on boxes that are offset by class; so far from the origin, float32 cannot
    resolve overlaps near the threshold.

    Args:
        boxes: Boxes of any class (R, 4), in coordinates of the original image.
        scores: Probabilities of the foreground classes (R, C).
        cfg: Settings: boxes with scores above ``score_thr`` enter the suppression ``nms``; the best ``max_per_img``
            are kept, and those with the same score as the last of them.

    Returns:
        ``bboxes`` (D, 4), ``scores`` (D,) and ``labels`` (D,), best first.
    """
    kept, classes = [], scores > cfg.score_thr
    for label in range(scores.shape[1]):
        own = classes[:, label].nonzero()[:, 0]
        if len(own):
            score = scores[own, label]
            chosen = batched_nms(boxes[own], score, torch.zeros_like(own), cfg.nms)[1]
            kept.append(torch.stack((own[chosen], torch.full_like(chosen, label))))
    roi, label = torch.cat(kept, dim=1) if kept else scores.new_zeros((2, 0), dtype=torch.long)
    order = scores[roi, label].argsort(descending=True, stable=True)
    roi, label = roi[order], label[order]
    score = scores[roi, label]
    if 0 < cfg.max_per_img < len(score):
        limit = int((score >= score[cfg.max_per_img - 1]).sum())
        roi, label, score = roi[:limit], label[:limit], score[:limit]
    return InstanceData(bboxes=boxes[roi], scores=score, labels=label)
