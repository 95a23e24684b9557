"""RoI head with the original's training RoIs."""

from collections.abc import Sequence

import torch
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from torch import Tensor

from semidff.models.rfcn.rfcn import RFCNRoIHead


@MODELS.register_module()
class OriginalRoIHead(RFCNRoIHead):
    """RoI head that is trained on all proposals followed by the true boxes, which are assigned like any other box.

    It needs ``sampler=dict(type='PseudoSampler')``, which keeps all RoIs, foreground first.
    """

    def loss(
        self, x: Sequence[Tensor], rpn_results_list: Sequence[InstanceData], samples: SampleList
    ) -> dict:
        """Compute mmdet's loss on the proposals of N images and their true boxes."""
        proposals = [
            with_true_boxes(proposals, sample.gt_instances)
            for proposals, sample in zip(rpn_results_list, samples, strict=True)
        ]
        return super().loss(x, proposals, samples)


def with_true_boxes(proposals: InstanceData, truth: InstanceData) -> InstanceData:
    """Append the true boxes (G, 4) to proposals (P, 4), as ``bboxes`` (P + G, 4)."""
    return InstanceData(bboxes=torch.cat((proposals.bboxes, truth.bboxes)))
