"""Position-sensitive head of R-FCN with online hard example mining (semi-DFF 3.2; DFF section 4)."""

import torch
import torch.nn.functional as F
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.registry import MODELS
from torch import Tensor, nn

from .rfcn import ScoreMaps


@MODELS.register_module()
class RFCNBBoxHead(BBoxHead):
    """Position-sensitive score and box maps, pooled per RoI and averaged over the bins ("vote").

    Args:
        in_channels: The head reads the *last* ``in_channels`` channels of the features.
        num_classes: Number of foreground classes C.
        bins: k, bins per side.
        pooling: Config of the pooling operator, built with ``output_size`` k; by default the original's at stride
            16.
        box_groups: Groups of four box outputs. The original has 2 and decodes only the last one, that of the
            foreground.
        ohem: Number of hardest RoIs per image that the loss includes; None for all sampled RoIs.
        kwargs: Arguments of mmdet's ``BBoxHead``, such as losses and box coder.
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
        """Return position-sensitive score and box maps (N, groups * k * k, H, W) of features (N, C, H, W)."""
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
        # torchvision's operators need maps and boxes of one type; under autocast, the maps are in half precision.
        logits, deltas = (self.pooling(m.float(), rois.float()).mean((2, 3)) for m in maps)
        return logits, deltas

    def loss(
        self, cls_score: Tensor, bbox_pred: Tensor, rois: Tensor, *targets: Tensor, **kwargs
    ) -> dict:
        """Compute mmdet's RoI loss on the foreground group, over the hardest RoIs if ``ohem`` is set.

        Arguments are those of mmdet: ``targets`` are labels, their weights, box targets and their weights.
        """
        rows = (cls_score, bbox_pred[:, -4:], rois, *targets)
        if self.ohem is not None:
            labels, _, *boxes = targets
            chosen = self._hardest(*rows[:3], labels, *boxes)
            rows = [row[chosen] for row in rows]
        return super().loss(*rows, **kwargs)

    @torch.no_grad()
    def _hardest(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        rois: Tensor,
        labels: Tensor,
        bbox_targets: Tensor,
        bbox_weights: Tensor,
    ) -> Tensor:
        """Return the indices of each image's ``ohem`` RoIs with the largest sum of class and box loss."""
        per_roi = self._class_losses(cls_score, labels)
        box = F.smooth_l1_loss(bbox_pred, bbox_targets, reduction='none')
        per_roi = per_roi + (box * bbox_weights).sum(1)
        chosen = []
        for image in rois[:, 0].unique():
            own = (rois[:, 0] == image).nonzero()[:, 0]
            chosen.append(own[per_roi[own].topk(min(self.ohem, len(own))).indices])
        return torch.cat(chosen) if chosen else labels.new_zeros(0)

    def _class_losses(self, cls_score: Tensor, labels: Tensor) -> Tensor:
        """Return the class loss of each RoI, (R,)."""
        return F.cross_entropy(cls_score, labels, reduction='none')

    def _predict_by_feat_single(self, roi, cls_score, bbox_pred, *args, **kwargs):
        """Decode the foreground group only."""
        bbox_pred = None if bbox_pred is None else bbox_pred[:, -4:]
        return super()._predict_by_feat_single(roi, cls_score, bbox_pred, *args, **kwargs)
