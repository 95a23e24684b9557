"""Heads of R-FCN as in the original MXNet code: proposals, losses, training RoIs, detections.

Their box arithmetic follows from one convention: a box is given by its first and its *last* pixel,
so a box from 3 to 5 is 3 wide ("+1").
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.ops import batched_nms
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.structures.bbox import scale_boxes
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from .rfcn import RFCNBBoxHead, RFCNRoIHead, RFCNRPNHead


@MODELS.register_module()
class OriginalRPNHead(RFCNRPNHead):
    """RPN with proposals by :func:`propose` and losses normalized per image.

    It needs a class loss with softmax (``use_sigmoid=False``), as in the original.
    """

    def loss_by_feat_single(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        anchors: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        bbox_weights: Tensor,
        avg_factor: int,
    ) -> tuple[Tensor, Tensor]:
        """Compute the means over the images of class and box loss.

        An image's class loss is divided by the number of its sampled anchors, its box loss by the
        number that *should* be sampled (``num`` of the sampler).
        """
        scores = cls_score.permute(0, 2, 3, 1).unflatten(-1, (-1, 2)).flatten(1, 3)
        deltas = bbox_pred.permute(0, 2, 3, 1).unflatten(-1, (-1, 4)).flatten(1, 3)
        classes = [
            self.loss_cls(*image, avg_factor=image[2].count_nonzero())
            for image in zip(scores, labels, label_weights, strict=True)
        ]
        boxes = [
            self.loss_bbox(*image, avg_factor=self.sampler.num)
            for image in zip(deltas, bbox_targets, bbox_weights, strict=True)
        ]
        return torch.stack(classes).mean(), torch.stack(boxes).mean()

    def _predict_by_feat_single(
        self,
        cls_score_list: Sequence[Tensor],
        bbox_pred_list: Sequence[Tensor],
        mlvl_priors: Sequence[Tensor],
        img_meta: dict,
        cfg: ConfigDict | None = None,
        rescale: bool = False,
        **unused: Any,
    ) -> InstanceData:
        (scores,), (deltas,), (anchors,) = cls_score_list, bbox_pred_list, mlvl_priors
        height, width = scores.shape[-2:]
        image = img_meta['img_shape'][:2]
        foreground = scores.permute(1, 2, 0).unflatten(-1, (-1, 2)).softmax(-1)[..., 0]
        deltas = deltas.permute(1, 2, 0).reshape(-1, 4)
        boxes = self.bbox_coder.decode(anchors, deltas, max_shape=image)
        boxes, kept = propose(
            foreground,
            boxes.reshape(height, width, -1, 4),
            image,
            self.prior_generator.strides[0][0],
            self.test_cfg if cfg is None else cfg,
            img_meta.get('scale_factor', (1.0,))[0],
        )
        if rescale:
            boxes = scale_boxes(boxes, [1 / factor for factor in img_meta['scale_factor']])
        labels = kept.new_zeros(len(kept), dtype=torch.long)
        return InstanceData(bboxes=boxes, scores=kept, labels=labels)


def propose(
    scores: Tensor,
    boxes: Tensor,
    image: Sequence[int],
    stride: int,
    cfg: ConfigDict,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Select proposals from the anchors' boxes.

    Cells beyond the last whole stride of the image and boxes that are too small are ranked last,
    but not removed. Too few boxes after the suppression are repeated in turn.

    Args:
        scores: Foreground probabilities (H, W, A).
        boxes: Decoded and clipped boxes (H, W, A, 4).
        image: Height and width of the network's input.
        cfg: mmdet's settings of the RPN; ``min_bbox_size`` is in pixels of the image before
            resizing.
        scale: Factor by which the image was resized.

    Returns:
        Boxes (R, 4) and scores (R,), R = ``max_per_img`` unless there are fewer anchors.
    """
    scores = scores.clone()
    scores[image[0] // stride :] = -1
    scores[:, image[1] // stride :] = -1
    scores, boxes = scores.flatten(), boxes.flatten(0, -2)
    if cfg.min_bbox_size > 0:
        # Boxes that are too small are extended by half of the least size on each side, even beyond
        # the image.
        smallest = cfg.min_bbox_size * scale
        small = (boxes[:, 2:] - boxes[:, :2] + 1 < smallest).any(dim=1)
        growth = boxes.new_tensor([-1, -1, 1, 1]) * (smallest / 2)
        scores, boxes = scores.where(~small, -1), boxes.where(~small[:, None], boxes + growth)
    order = scores.sort(descending=True, stable=True).indices[: cfg.nms_pre]
    scores, boxes = scores[order], boxes[order]
    # Ranks instead of scores preserve the order of equal scores.
    ranks = torch.arange(len(order), 0, -1, dtype=boxes.dtype, device=boxes.device)
    survivors = batched_nms(boxes, ranks, torch.zeros_like(ranks), cfg.nms)[1]
    rows = torch.arange(min(cfg.max_per_img, len(order)), device=boxes.device)
    chosen = survivors[rows % len(survivors)]
    return boxes[chosen], scores[chosen]


@MODELS.register_module()
class OriginalRoIHead(RFCNRoIHead):
    """RoI head that is trained on all proposals followed by the true boxes.

    It needs ``sampler=dict(type='PseudoSampler')``, which keeps all RoIs, foreground first.
    """

    def loss(
        self, x: Sequence[Tensor], rpn_results_list: Sequence[InstanceData], samples: SampleList
    ) -> dict:
        proposals = [
            with_true_boxes(proposals, sample.gt_instances)
            for proposals, sample in zip(rpn_results_list, samples, strict=True)
        ]
        return super().loss(x, proposals, samples)


def with_true_boxes(proposals: InstanceData, truth: InstanceData) -> InstanceData:
    """Append the true boxes (G, 4) to proposals (P, 4), as ``bboxes`` (P + G, 4)."""
    return InstanceData(bboxes=torch.cat((proposals.bboxes, truth.bboxes)))


@MODELS.register_module()
class OriginalBBoxHead(RFCNBBoxHead):
    """The original's head: two groups of boxes, losses per image, and its own suppression.

    Args:
        ohem: Number of hardest RoIs per image; the box loss is divided by it even if there are
            fewer RoIs.
    """

    def __init__(self, *, ohem: int = 128, box_groups: int = 2, **kwargs) -> None:
        super().__init__(ohem=ohem, box_groups=box_groups, **kwargs)

    def loss(
        self, cls_score: Tensor, bbox_pred: Tensor, rois: Tensor, *targets: Tensor, **kwargs
    ) -> dict:
        """Compute the means over the images of class and box loss."""
        rows = (cls_score, bbox_pred, rois, *targets)
        images = []
        for image in rois[:, 0].unique():
            own = rois[:, 0] == image
            losses = super().loss(*(row[own] for row in rows), **kwargs)
            losses['loss_bbox'] = losses['loss_bbox'] * min(1, int(own.sum()) / self.ohem)
            images.append(losses)
        return {name: sum(losses[name] for losses in images) / len(images) for name in images[0]}

    def _class_losses(self, cls_score: Tensor, labels: Tensor) -> Tensor:
        # With a finite logarithm, as in the original.
        probability = cls_score.softmax(1).gather(1, labels[:, None])[:, 0]
        return -(probability + 1e-14).log()

    def _predict_by_feat_single(
        self, *args, rcnn_test_cfg: ConfigDict | None = None, **kwargs
    ) -> InstanceData:
        raw = super()._predict_by_feat_single(*args, **kwargs)
        if rcnn_test_cfg is None:
            return raw
        return detections(raw.bboxes, raw.scores[:, : self.num_classes], rcnn_test_cfg)


def detections(boxes: Tensor, scores: Tensor, cfg: ConfigDict) -> InstanceData:
    """Suppress boxes class by class, then limit their number per image.

    mmdet suppresses all classes in one call on boxes that are offset by class; so far from the
    origin, float32 cannot resolve overlaps near the threshold.

    Args:
        boxes: Boxes of any class (R, 4), in coordinates of the original image.
        scores: Probabilities of the foreground classes (R, C).
        cfg: mmdet's settings; beyond ``max_per_img``, boxes with the same score as the last one are
            kept.

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
