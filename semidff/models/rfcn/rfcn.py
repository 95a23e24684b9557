"""R-FCN, the default spatial module (semi-DFF 3.2; Dai et al., NIPS 2016)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import RPNHead
from mmdet.models.detectors import TwoStageDetector
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn


class ScoreMaps(NamedTuple):
    """Outputs of R-FCN's four 1x1 convolutions; the heads accept them in place of features."""

    anchor_scores: Tensor  # (N, A * K, H, W)
    anchor_deltas: Tensor  # (N, A * 4, H, W)
    roi_scores: Tensor  # position-sensitive, (N, (C + 1) * k * k, H, W)
    roi_deltas: Tensor  # position-sensitive, (N, 4 * G * k * k, H, W) of G groups of boxes


@MODELS.register_module()
class RFCN(TwoStageDetector):
    """Region-based fully convolutional network.

    Two-stage detector whose feature network (``backbone`` and :class:`RFCNNeck`) ends in one map
    that both heads share: the first channels go to the RPN, the last ones to the position-sensitive
    head.
    """


@MODELS.register_module()
class RFCNNeck(BaseModule):
    """Neck whose output is propagated (DFF section 4): a dilated 3x3 convolution with ReLU.

    Args:
        init_std: Standard deviation of the initial weights; the original's suits 2048 input
            channels.
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
        """Map the last level of the backbone (N, C_in, H, W) to the only level (N, C_out, H, W)."""
        return (F.relu(self.conv(inputs[-1])),)


@MODELS.register_module()
class RFCNRPNHead(RPNHead):
    """mmdet's RPN without its 3x3 convolution, on ``features[:, :in_channels]`` (DFF section 4)."""

    def _init_layers(self) -> None:
        anchors = self.num_base_priors
        self.rpn_cls = nn.Conv2d(self.in_channels, anchors * self.cls_out_channels, 1)
        self.rpn_reg = nn.Conv2d(self.in_channels, anchors * self.bbox_coder.encode_size, 1)

    def score_maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (N, A * K, H, W) and deltas (N, A * 4, H, W) of features (N, C, H, W)."""
        x = x[:, : self.in_channels]
        return self.rpn_cls(x), self.rpn_reg(x)

    def forward(self, x: Sequence[Tensor] | ScoreMaps) -> tuple[list[Tensor], list[Tensor]]:
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
        """Select the ``nms_pre`` best anchors and leave the rest to mmdet, which would sort all.

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
    """mmdet's RoI head around a :class:`RFCNBBoxHead`, without RoI extractor."""

    def init_bbox_head(self, bbox_roi_extractor: dict | None, bbox_head: dict) -> None:
        if bbox_roi_extractor is not None:
            raise ValueError('R-FCN has no RoI extractor: set bbox_head.pooling instead')
        self.bbox_head = MODELS.build(bbox_head)

    def _bbox_forward(self, x: tuple[Tensor] | ScoreMaps, rois: Tensor) -> dict[str, Tensor]:
        logits, deltas = self.bbox_head(x if isinstance(x, ScoreMaps) else x[0], rois)
        return dict(cls_score=logits, bbox_pred=deltas, bbox_feats=logits)


@MODELS.register_module()
class RFCNBBoxHead(BBoxHead):
    """Position-sensitive score and box maps, pooled per RoI and averaged over the bins ("vote").

    Args:
        in_channels: The head reads the *last* ``in_channels`` channels of the features.
        bins: k, bins per side.
        pooling: Config of the pooling operator, built with ``output_size`` k; by default the
            original's at stride 16.
        box_groups: Groups of four box outputs. The original has 2 and decodes only the last one,
            that of the foreground.
        ohem: Number of hardest RoIs per image that the loss includes; None for all sampled RoIs.
    """

    def __init__(
        self,
        in_channels: int = 512,
        num_classes: int = 30,
        bins: int = 7,
        pooling: dict | None = None,
        box_groups: int = 1,
        ohem: int | None = None,
        init_cfg: dict | list | None = None,
        **kwargs,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            num_classes=num_classes,
            roi_feat_size=bins,
            reg_class_agnostic=True,
            init_cfg=init_cfg or dict(type='Normal', layer='Conv2d', std=0.01),
            **kwargs,
        )
        del self.fc_cls, self.fc_reg
        self.conv_cls = nn.Conv2d(in_channels, (num_classes + 1) * bins**2, 1)
        self.conv_reg = nn.Conv2d(in_channels, 4 * box_groups * bins**2, 1)
        pooling = pooling or dict(type='ExactPSRoIPool', spatial_scale=1 / 16)
        self.pooling = MODELS.build(dict(pooling, output_size=bins))
        self.ohem = ohem

    def score_maps(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return position-sensitive maps (N, groups * k * k, H, W) of features (N, C, H, W)."""
        x = features[:, -self.in_channels :]
        return self.conv_cls(x), self.conv_reg(x)

    def forward(self, features: Tensor | ScoreMaps, rois: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits and boxes of RoIs.

        Args:
            features: Features (N, C, H, W), or their score maps.
            rois: (R, 5), image index and box in pixels of the network's input.

        Returns:
            Logits (R, num_classes + 1), background last, and normalized deltas (R, 4 * box_groups).
        """
        if isinstance(features, ScoreMaps):
            maps = features.roi_scores, features.roi_deltas
        else:
            maps = self.score_maps(features)
        # torchvision's operators need maps and boxes of one type; under autocast, the maps are in
        # half precision.
        logits, deltas = (self.pooling(m.float(), rois.float()).mean((2, 3)) for m in maps)
        return logits, deltas

    def loss(
        self, cls_score: Tensor, bbox_pred: Tensor, rois: Tensor, *targets: Tensor, **kwargs
    ) -> dict:
        """Compute mmdet's RoI loss on the foreground group, over the hardest RoIs with ``ohem``."""
        rows = (cls_score, bbox_pred[:, -4:], rois, *targets)
        if self.ohem is not None:
            chosen = self._hardest(*rows)
            rows = [row[chosen] for row in rows]
        return super().loss(*rows, **kwargs)

    @torch.no_grad()
    def _hardest(
        self, cls_score: Tensor, bbox_pred: Tensor, rois: Tensor, *targets: Tensor
    ) -> Tensor:
        """Choose each image's ``ohem`` RoIs with the largest sum of class and box loss."""
        labels, _, bbox_targets, bbox_weights = targets
        per_roi = self._class_losses(cls_score, labels)
        box = F.smooth_l1_loss(bbox_pred, bbox_targets, reduction='none')
        per_roi = per_roi + (box * bbox_weights).sum(1)
        chosen = []
        for image in rois[:, 0].unique():
            own = (rois[:, 0] == image).nonzero()[:, 0]
            chosen.append(own[per_roi[own].topk(min(self.ohem, len(own))).indices])
        return torch.cat(chosen) if chosen else labels.new_zeros(0)

    def _class_losses(self, cls_score: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(cls_score, labels, reduction='none')

    def _predict_by_feat_single(self, roi, cls_score, bbox_pred, *args, **kwargs):
        bbox_pred = None if bbox_pred is None else bbox_pred[:, -4:]
        return super()._predict_by_feat_single(roi, cls_score, bbox_pred, *args, **kwargs)


@MODELS.register_module()
class ExactPSRoIPool(nn.Module):
    """The pooling of the original R-FCN and DFF: the average over the cells that a bin touches.

    Boxes are rounded to whole pixels, where torchvision's operator rounds to cells, and their far
    side is inclusive. A bin covers the cells from the floor of its start to the ceiling of its end,
    clipped to the map; an empty bin is 0. torchvision's operator gets each bin as a box of whole
    cells.

    Its forward pass clips bins at ``height - 1`` and ``width - 1``, its backward pass does not:
    bins at the border would get a gradient that no change of the maps reduces, and training would
    diverge. Padding by one row and column of zeros moves the clipping to where no bin reaches.

    It has ``output_size`` k bins per side and ``spatial_scale`` cells per pixel.
    """

    def __init__(self, output_size: int, spatial_scale: float) -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale

    def forward(self, maps: Tensor, rois: Tensor) -> Tensor:
        """Pool score maps to (R, C, k, k).

        Args:
            maps: Position-sensitive maps (N, C * k * k, H, W), channel = (c * k + row) * k +
                column.
            rois: Rows of (image index, x1, y1, x2, y2) in pixels, within the image, (R, 5).
        """
        from torchvision import ops

        k = self.output_size
        height, width = maps.shape[-2:]
        x, y = self._bins(rois[:, 1], rois[:, 3], width), self._bins(rois[:, 2], rois[:, 4], height)
        of_bins, boxes = _bins_as_images(maps, rois, x, y)
        mean = ops.ps_roi_pool(F.pad(of_bins, (0, 1, 0, 1)), boxes.to(maps.dtype), 1, 1.0)
        empty = (y[1] <= y[0])[:, :, None] | (x[1] <= x[0])[:, None, :]
        mean = mean.view(len(rois), k, k, of_bins.size(1)).masked_fill(empty[..., None], 0)
        return mean.permute(0, 3, 1, 2)

    def _bins(self, low: Tensor, high: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Return first and one-past-last cell of each RoI's k bins along one axis, (R, k) each."""
        k = self.output_size
        # Half away from zero, as in C; torch.round rounds half to even.
        first, last = (x.float().sign() * (x.float().abs() + 0.5).floor() for x in (low, high))
        start, end = first * self.spatial_scale, (last + 1) * self.spatial_scale
        bin_size = (end - start).clamp(min=0.1) / k
        index = torch.arange(k, device=low.device, dtype=start.dtype)
        first = (index * bin_size[:, None] + start[:, None]).floor()
        last = ((index + 1) * bin_size[:, None] + start[:, None]).ceil()
        return first.clamp(0, size), last.clamp(0, size)


@MODELS.register_module()
class PSRoIAlign(nn.Module):
    """torchvision's position-sensitive RoI align, by its ``roi_align``.

    Maps, RoIs and result are those of :class:`ExactPSRoIPool`. torchvision's own operator makes the
    host wait for the GPU, so that no CUDA graph can hold it, and is slower on a CPU.

    It has ``output_size`` k bins per side, ``spatial_scale`` cells per pixel and ``sampling_ratio``
    points per bin and axis.
    """

    def __init__(self, output_size: int, spatial_scale: float, sampling_ratio: int) -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio

    def forward(self, maps: Tensor, rois: Tensor) -> Tensor:
        from torchvision import ops

        k = self.output_size
        left, top, right, bottom = (rois[:, 1:] * self.spatial_scale).unbind(1)
        x, y = self._bins(left, right), self._bins(top, bottom)
        of_bins, boxes = _bins_as_images(maps, rois, x, y)
        pooled = ops.roi_align(of_bins, boxes, 1, 1.0, self.sampling_ratio, aligned=True)
        return pooled.view(len(rois), k, k, of_bins.size(1)).permute(0, 3, 1, 2)

    def _bins(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Return start and end of the k bins of each RoI along one axis, in cells, (R, k) each."""
        size = ((high - low) / self.output_size)[:, None]
        start = low[:, None] + size * torch.arange(self.output_size, device=low.device)
        return start, start + size


def _bins_as_images(
    maps: Tensor, rois: Tensor, x: tuple[Tensor, Tensor], y: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return position-sensitive maps with an image for each bin, and the bins as RoIs of these.

    Args:
        maps: (N, C * k * k, H, W).
        rois: (R, 5), of which the image index is used.
        x, y: Start and end of the bins, (R, k) each.

    Returns:
        Maps (N * k * k, C, H, W) and RoIs (R * k * k, 5).
    """
    k = x[0].shape[1]
    of_bins = maps.unflatten(1, (-1, k * k)).transpose(1, 2).flatten(0, 1)
    image = rois[:, 0, None, None] * k**2 + torch.arange(k**2, device=rois.device).view(k, k)
    left, right = (side[:, None, :] for side in x)
    top, bottom = (side[:, :, None] for side in y)
    boxes = torch.stack(torch.broadcast_tensors(image, left, top, right, bottom), dim=-1)
    return of_bins, boxes.flatten(0, 2)
