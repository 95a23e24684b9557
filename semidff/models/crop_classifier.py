"""Classifier of image crops, which replaces ImageNet pre-training in the quick start."""

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseModel
from torch import Tensor, nn


@MODELS.register_module()
class CropClassifier(BaseModel):
    """Backbone, global average pooling and a linear classifier.

    Args:
        backbone: Config of the backbone; its last level is classified.
        in_channels: Channels of the last level.
        kwargs: Arguments of mmengine's ``BaseModel``.
    """

    def __init__(self, backbone: dict, in_channels: int, num_classes: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.backbone = MODELS.build(backbone)
        self.classifier = nn.Linear(in_channels, num_classes)

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'):
        """Return logits (N, num_classes), or with ``mode='loss'`` a dict of the loss and the accuracy in percent.

        Args:
            inputs: Normalized crops (N, 3, H, W).
            data_samples: Data samples with a scalar tensor ``gt_label``.
        """
        logits = self.classifier(self.backbone(inputs)[-1].mean((2, 3)))
        if mode != 'loss':
            return logits
        labels = (
            torch.stack([sample.gt_label for sample in data_samples]).view(-1).to(logits.device)
        )
        accuracy = (logits.argmax(1) == labels).float().mean() * 100
        return dict(loss=F.cross_entropy(logits, labels), accuracy=accuracy)
