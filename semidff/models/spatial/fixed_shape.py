"""Post-processing of fixed shape, in tensors alone, which a CUDA graph can hold.

Results are mmdet's, with a flag that says whether they are exact. mmdet thresholds first and then
takes the best; here the best are taken first, which selects the same. Its NMS is greedy; here it is
a fixed-point iteration.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmdet.models import dense_heads
from mmdet.models.dense_heads import RPNHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.models.roi_heads.base_roi_head import BaseRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor, SingleRoIExtractor
from mmdet.models.task_modules import coders
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from torch import Tensor, nn

from semidff.models.rfcn.rfcn import RFCNBBoxHead, RFCNRoIHead, RFCNRPNHead

from .head_family import HeadOutput, twin

_LIMIT = 1000
"""Candidates that the NMS compares at least, see :func:`select`."""
_ROUNDS = 16
"""Iterations of the NMS, which is exact after as many as the longest chain of suppressions."""
_BASE = BaseDenseHead.predict, BaseDenseHead.predict_by_feat
CODERS = coders.DeltaXYWHBBoxCoder, coders.DistancePointBBoxCoder, coders.TBLRBBoxCoder


class Candidates(NamedTuple):
    """Boxes (N, M, 4) in pixels, and their scores, labels and validity (N, M)."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    valid: Tensor


class DenseHead(NamedTuple):
    """What is known of a kind of dense head.

    Attributes:
        boxes: The output after the class scores, as the semantic loss compares it; None if it is
            not known.
        quality: The output after the boxes: ``quality`` (trained at objects only), ``objectness``
            (everywhere) or ``factor`` (only its product with the class scores is trained).
        decode_level, decode: Decoding of the boxes of a level, then of all.
        largest: Largest coordinate, relative to the frame's size; None: boxes are not clipped.
    """

    kind: type = BaseDenseHead
    boxes: Callable[[Sequence[Tensor], nn.Module], HeadOutput] | None = None
    quality: str = ''
    decode_level: Callable = lambda head, level, x: x
    decode: Callable = lambda head, priors, x: head.bbox_coder.decode(priors, x)
    largest: Callable = lambda head: 0 if head.bbox_coder.clip_border else None

    @property
    def is_plain(self) -> bool:
        """Whether it decodes as mmdet's base class does."""
        return self.kind._predict_by_feat_single is BaseDenseHead._predict_by_feat_single


def knows(instance: object, *methods: Callable) -> bool:
    """Return whether an object has these methods, not overridden; of one name, any of them."""
    names = {method.__name__ for method in methods}
    return all(getattr(type(instance), name, None) in methods for name in names)


def knows_dense_head(head: nn.Module, known: DenseHead) -> bool:
    names = '_predict_by_feat_single', '_bbox_decode', 'anchor_center'
    own = (getattr(known.kind, name) for name in names if hasattr(known.kind, name))
    sigmoid = known.is_plain or head.use_sigmoid_cls
    plain = knows(head, *_BASE, BaseDenseHead._bbox_post_process, *own)
    return plain and sigmoid and _knows_parts(head, head.test_cfg, limited=True)


def knows_yolox_head(head: nn.Module) -> bool:
    kind = dense_heads.YOLOXHead
    own = kind.predict, kind.predict_by_feat, kind._bbox_decode, kind._bbox_post_process
    return knows(head, *own) and _knows_nms(head.test_cfg)


def knows_rpn(head: nn.Module) -> bool:
    singles = RPNHead._predict_by_feat_single, RFCNRPNHead._predict_by_feat_single
    plain = knows(head, *_BASE, RPNHead._bbox_post_process, *singles)
    return plain and _knows_parts(head, head.test_cfg, limited=True)


def knows_roi_head(head: nn.Module) -> bool:
    kinds = StandardRoIHead, RFCNRoIHead, CascadeRoIHead
    own = (method for kind in kinds for method in (kind.predict_bbox, kind._bbox_forward))
    if not knows(head, BaseRoIHead.predict, *own) or head.with_mask:
        return False
    if len(_stages(head)) > 1 and not knows(head, CascadeRoIHead._refine_roi):
        return False
    pooling = SingleRoIExtractor.forward, SingleRoIExtractor.map_roi_levels
    extractors = (module for module in head.modules() if isinstance(module, BaseRoIExtractor))
    singles = BBoxHead._predict_by_feat_single, RFCNBBoxHead._predict_by_feat_single
    return all(knows(extractor, *pooling) for extractor in extractors) and all(
        knows(stage, BBoxHead.predict_by_feat, BBoxHead.regress_by_class, *singles)
        and stage.with_reg
        and not stage.custom_activation
        and _knows_parts(stage, head.test_cfg)
        for stage in _stages(head)
    )


def knows_queries(head: nn.Module) -> bool:
    kind = dense_heads.DETRHead
    several = kind.predict_by_feat, dense_heads.DeformableDETRHead.predict_by_feat
    return knows(head, kind._predict_by_feat_single, *several)


def _knows_parts(head: nn.Module, test_cfg: Mapping, limited: bool = False) -> bool:
    limits = test_cfg.get('nms_pre', 0), test_cfg.get('max_per_img', 0)
    return (
        not getattr(head.loss_cls, 'custom_cls_channels', False)
        and type(head.bbox_coder) in CODERS
        and not head.bbox_coder.use_box_type
        and not (limited and min(limits) <= 0)
        and _knows_nms(test_cfg)
    )


def _knows_nms(test_cfg: Mapping) -> bool:
    nms = test_cfg.get('nms') or {}
    known = {'type', 'iou_threshold', 'class_agnostic', 'offset', 'split_thr'}
    return nms.get('type', 'nms') == 'nms' and 'iou_threshold' in nms and known.issuperset(nms)


def _stages(head: nn.Module) -> Sequence[nn.Module]:
    return head.bbox_head if isinstance(head.bbox_head, nn.ModuleList) else [head.bbox_head]


class FixedShape:
    """Post-processing of N frames, for heads whose test settings and methods are known.

    Args:
        geometry: (N, 4), see :meth:`~semidff.models.spatial.SpatialModule.fixed_shape`.
    """

    def __init__(self, geometry: Tensor) -> None:
        self.size = geometry[:, :2].flip(1).repeat(1, 2)[:, None]
        self.factors = geometry[:, 2:].repeat(1, 2)[:, None]

    def dense(
        self, head: nn.Module, known: DenseHead, outputs: tuple, priors: Sequence[Tensor]
    ) -> Tensor:
        """Return the :func:`detections` of a dense head, given its outputs and priors by level."""
        cfg, outputs = head.test_cfg, outputs if known.is_plain else outputs[:2]
        found, _, *factors = self._best(head, known, outputs, priors)
        boxes = found.boxes * (1 / self.factors).to(found.boxes)
        scores, valid = found.scores, found.scores > cfg.get('score_thr', 0)
        for factor in factors:
            scores = scores * factor
        found = Candidates(boxes, scores, found.labels, valid & _large(boxes, cfg))
        return detections(found, cfg.nms, cfg.max_per_img)

    def anchors(self, head: nn.Module, outputs: tuple, priors: Sequence[Tensor]) -> Candidates:
        """Return the best anchors of each level of an RPN, whose number is the label."""
        found, level = self._best(head, DenseHead(), outputs, priors)
        valid = found.valid & _large(found.boxes, head.test_cfg)
        return found._replace(labels=level, valid=valid)

    def _best(
        self, head: nn.Module, known: DenseHead, outputs: tuple, priors: Sequence[Tensor]
    ) -> tuple:
        """Return the ``nms_pre`` best candidates of each level, their levels, and score factors."""
        found = []
        for level, (logits, *others, points) in enumerate(zip(*outputs, priors, strict=True)):
            anchors = logits.shape[1] // head.cls_out_channels
            scores = _rows(logits, head.cls_out_channels)
            scores = scores.sigmoid() if head.use_sigmoid_cls else scores.softmax(-1)[..., :-1]
            classes, scores = scores.shape[-1], scores.flatten(1)
            best = scores.topk(min(head.test_cfg.nms_pre, scores.shape[1])).indices
            best = best.sort().values  # equal scores in the order of mmdet's
            cell, numbers = best // classes, torch.full_like(best, level)
            values, *factors = (_rows(maps, maps.shape[1] // anchors) for maps in others)
            values = known.decode_level(head, level, _take(values, cell).flatten(0, 1))
            values = values.unflatten(0, cell.shape)
            factors = (_take(factor.sigmoid(), cell)[..., 0] for factor in factors)
            scores, labels = scores.gather(1, best), best % classes
            found.append((scores, labels, numbers, values, points[cell], *factors))
        scores, labels, numbers, values, points, *factors = (
            torch.cat(parts, 1) for parts in zip(*found, strict=True)
        )
        boxes = known.decode(head, points.flatten(0, 1), values.flatten(0, 1))
        boxes = self._clip(boxes.unflatten(0, scores.shape), known.largest(head))
        return Candidates(boxes, scores, labels, scores >= 0), numbers, *factors

    def yolox(self, head: nn.Module, outputs: tuple, priors: Sequence[Tensor]) -> Tensor:
        columns = head.cls_out_channels, 4, 1
        logits, values, objectness = (
            torch.cat([_rows(level, column) for level in maps], 1)
            for maps, column in zip(outputs, columns, strict=True)
        )
        scores, labels = logits.sigmoid().max(-1)
        scores = scores * objectness[..., 0].sigmoid()
        points = torch.cat(list(priors)).repeat(len(values), 1)
        boxes = head._bbox_decode(points, values.flatten(0, 1)).view_as(values)
        boxes = boxes / self.factors.to(boxes)
        cfg = head.test_cfg
        return detections(Candidates(boxes, scores, labels, scores >= cfg.score_thr), cfg.nms, 0)

    def proposals(
        self, head: nn.Module, outputs: tuple, priors: Sequence[Tensor]
    ) -> tuple[Candidates, Tensor]:
        """Return the best proposals of an RPN, and whether they are exact (N,)."""
        cfg, found = head.test_cfg, self.anchors(head, outputs, priors)
        groups = 1 if cfg.nms.get('class_agnostic', False) else len(priors)
        limit = cfg.nms_pre if groups > 1 else None
        return select(found, cfg.nms, cfg.max_per_img, groups, limit)

    def rois(self, head: nn.Module, inputs: Any, found: Candidates) -> Tensor:
        """Return the :func:`detections` of an RoI head, of one stage or a cascade, on proposals."""
        cfg, limit = head.test_cfg, found.valid.shape[1]
        image = torch.arange(len(found.boxes), device=found.boxes.device)
        found = self.classified(_with_fixed_extractors(head), inputs, found, image)
        # All boxes of a class, if classes and RoIs are few; else the best of all classes.
        classes = found.labels.shape[1] // limit
        if cfg.nms.get('class_agnostic', False) or classes * limit**2 > 8 * _LIMIT**2:
            classes, limit = 1, None
        return _table(*select(found, cfg.nms, max(cfg.max_per_img, 0), classes, limit))

    def classified(
        self, head: nn.Module, inputs: Any, found: Candidates, image: Tensor
    ) -> Candidates:
        """Return an RoI head's boxes of all classes at proposals (N, M) of images (N,)."""
        cfg, shape, boxes = head.test_cfg, found.valid.shape, found.boxes
        stages, logits = _stages(head), 0
        image = image.to(boxes).view(-1, 1, 1)
        for stage, box_head in enumerate(stages):
            boxes = boxes.where(found.valid[..., None], 0)
            rois = torch.cat((image.expand(*shape, 1), boxes), -1).flatten(0, 1)
            number = (stage,) if len(stages) > 1 else ()
            results = head._bbox_forward(*number, inputs, rois)
            logits = logits + results['cls_score'].unflatten(0, shape)
            deltas = results['bbox_pred'].unflatten(0, shape).unflatten(-1, (-1, 4))
            if box_head.reg_class_agnostic:
                deltas = deltas[:, :, -1:]  # R-FCN's last group
            if stage + 1 < len(stages):
                best = results['cls_score'].unflatten(0, shape)[..., :-1].argmax(-1)
                best = best % deltas.shape[2]
                deltas = deltas.gather(2, best[..., None, None].expand(*shape, 1, 4))
                boxes = self._decode(box_head.bbox_coder, boxes, deltas[:, :, 0])
        boxes = boxes[:, :, None].expand_as(deltas).flatten(1, 2)
        boxes = self._decode(box_head.bbox_coder, boxes, deltas.flatten(1, 2))
        boxes = boxes * (1 / self.factors).to(boxes)
        scores = (logits / len(stages)).softmax(-1)[..., :-1]
        boxes = boxes.view_as(deltas).expand(*scores.shape, 4).flatten(1, 2)
        labels = torch.arange(scores.shape[-1], device=boxes.device).expand_as(scores)
        valid = (scores > cfg.score_thr) & found.valid[..., None]
        return Candidates(boxes, *(column.flatten(1) for column in (scores, labels, valid)))

    def queries(self, head: nn.Module, logits: Tensor, boxes: Tensor) -> Tensor:
        """Return the :func:`detections` of logits (N, Q, C) and relative boxes (N, Q, 4)."""
        most = head.test_cfg.get('max_per_img', logits.shape[1])
        if head.loss_cls.use_sigmoid:
            scores, index = logits.sigmoid().flatten(1).topk(most)
            query, labels = index // head.num_classes, index % head.num_classes
        else:
            scores, labels = logits.softmax(-1)[..., :-1].max(-1)
            scores, query = scores.topk(most)
            labels = labels.gather(1, query)
        boxes = bbox_cxcywh_to_xyxy(_take(boxes, query))
        boxes = self._clip(boxes * self.size.to(boxes), 0) / self.factors.to(boxes)
        valid = torch.ones_like(labels, dtype=torch.bool)
        return _table(Candidates(boxes, scores, labels, valid), valid[:, 0])

    def _decode(self, coder: Any, priors: Tensor, deltas: Tensor) -> Tensor:
        boxes = coder.decode(priors.flatten(0, 1), deltas.flatten(0, 1)).view_as(deltas)
        return self._clip(boxes, 0 if coder.clip_border else None)

    def _clip(self, boxes: Tensor, largest: int | None) -> Tensor:
        if largest is None:
            return boxes
        return boxes.clamp(min=0).minimum(self.size.to(boxes) + largest)


def detections(found: Candidates, nms: Mapping, most: int) -> Tensor:
    """Suppress boxes; return (N, K + 1, 7): box, score, label, validity of the K best, and flags.

    The first flag says whether the results are exact.
    """
    return _table(*select(found, nms, most))


def _table(best: Candidates, exact: Tensor) -> Tensor:
    columns = best.scores, best.labels.to(best.boxes), best.valid.to(best.boxes)
    rows = torch.cat((best.boxes, torch.stack(columns, -1)), -1)
    return torch.cat((rows, F.pad(exact.to(rows)[:, None, None], (0, 6))), 1)


def select(
    found: Candidates, nms: Mapping, most: int, groups: int = 1, limit: int | None = None
) -> tuple[Candidates, Tensor]:
    """Suppress boxes as mmcv's ``batched_nms``; return the best, and whether they are exact (N,).

    Args:
        nms: mmcv's settings.
        most: Largest number of results; 0 for all.
        groups: 1, or the number of labels: boxes of other labels, which do not overlap, are then
            not compared.
        limit: Candidates that are compared, in each group; some multiple of ``most`` by default.
            With more of them, results are exact if they are better than what was left out.
    """
    boxes, scores, labels, valid = found
    moved = boxes
    if not nms.get('class_agnostic', False):
        largest = boxes.masked_fill(~valid[..., None], -torch.inf).amax((1, 2))
        moved = boxes + (labels.to(boxes) * (largest[:, None] + 1))[..., None]
    ranks = scores.masked_fill(~valid, -1)[:, None]
    if groups > 1:
        own = labels[:, None] == torch.arange(groups, device=labels.device)[:, None]
        ranks = ranks.where(own, -1)
    compared = min(limit or max(_LIMIT, 8 * most), ranks.shape[-1])
    # Unlike topk, it keeps the order of equal scores, as mmcv does: RoIs that are pooled from the
    # same cells have them.
    ranks, index = ranks.sort(descending=True, stable=True)
    left_out = F.pad(ranks[..., compared : compared + 1], (1, 0), value=-1).amax((1, 2))
    ranks, index = ranks[..., :compared], index[..., :compared].flatten(1)
    keep, exact = _suppress(_take(moved, index).unflatten(1, (groups, -1)), ranks >= 0, nms)
    ranks = ranks.where(keep, -1).flatten(1)
    count = min(most or ranks.shape[1], ranks.shape[1])
    scores, best = (x[:, :count] for x in ranks.sort(descending=True, stable=True))
    exact = exact & ((left_out < 0) | ((scores[:, -1] >= left_out) & (count == most)))
    index = index.gather(1, best)
    return Candidates(_take(boxes, index), scores, labels.gather(1, index), scores >= 0), exact


def _suppress(boxes: Tensor, valid: Tensor, nms: Mapping) -> tuple[Tensor, Tensor]:
    """Return which boxes (N, G, M, 4), best first, greedy NMS keeps, and whether that is exact.

    A box is kept if no better one that is kept overlaps it. This is computed again and again, from
    all boxes; once nothing changes, it is true of all.
    """
    extra, threshold = nms.get('offset', 0), nms['iou_threshold']
    one, other = boxes[..., :, None, :], boxes[..., None, :, :]
    low = torch.maximum(one[..., :2], other[..., :2])
    width, height = (torch.minimum(one[..., 2:], other[..., 2:]) - low + extra).unbind(-1)
    common = width.clamp(min=0) * height.clamp(min=0)
    width, height = (boxes[..., 2:] - boxes[..., :2] + extra).unbind(-1)
    area = width * height
    union = area[..., :, None] + area[..., None, :] - common
    # Rounded as in mmcv's operators.
    overlaps = common > threshold * union if boxes.is_cuda else common / union > threshold
    overlaps = overlaps.to(boxes).triu(1)
    keep = before = valid = valid.to(boxes)[..., None, :]
    for _ in range(_ROUNDS):
        before, keep = keep, (keep @ overlaps == 0) * valid
    return keep[..., 0, :] > 0, (before == keep).flatten(1).all(1)


class _FixedExtractor(SingleRoIExtractor):
    def forward(self, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Pool each RoI on its level; on the others its box is empty, which takes no time."""
        rois, total = rois.type_as(feats[0]), 0
        levels = self.map_roi_levels(rois, len(feats))
        for level, (layer, maps) in enumerate(zip(self.roi_layers, feats, strict=False)):
            own = (levels == level)[:, None]
            pooled = layer(maps, torch.cat((rois[:, :1], rois[:, 1:].where(own, 0)), 1))
            total = total + pooled.where(own[..., None, None], 0)
        return total


def _with_fixed_extractors(head: nn.Module) -> nn.Module:
    extractors = getattr(head, 'bbox_roi_extractor', None)
    if extractors is None:  # R-FCN
        return head
    several = isinstance(extractors, nn.ModuleList)
    fixed = [twin(extractor) for extractor in (extractors if several else [extractors])]
    for extractor in fixed:
        extractor.__class__ = _FixedExtractor  # runs in full precision as before
    return twin(head, bbox_roi_extractor=nn.ModuleList(fixed) if several else fixed[0])


def _rows(maps: Tensor, columns: int) -> Tensor:
    """Return maps (N, A * columns, H, W) as (N, H * W * A, columns)."""
    return maps.permute(0, 2, 3, 1).reshape(len(maps), -1, columns)


def _take(rows: Tensor, index: Tensor) -> Tensor:
    """Return rows (N, K, D) of each image's (N, M, D), by their index (N, K)."""
    return rows.gather(1, index[..., None].expand(*index.shape, rows.shape[-1]))


def _large(boxes: Tensor, test_cfg: Mapping) -> Tensor | bool:
    smallest = test_cfg.get('min_bbox_size', -1)
    return smallest < 0 or (boxes[..., 2:] - boxes[..., :2] > smallest).all(-1)
