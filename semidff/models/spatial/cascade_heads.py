"""Cascade R-CNN: RoI heads in stages, each on the boxes of the one before."""

from collections.abc import Mapping, Sequence

import torch
from mmdet.models.roi_heads import CascadeRoIHead
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox2roi
from torch import Tensor, nn

from .head_family import HEAD_FAMILIES, HeadOutput, levels
from .two_stage_heads import (
    ROI_INPUTS,
    TwoStageHeads,
    check_comparable,
    roi_masks,
    roi_outputs,
)


@HEAD_FAMILIES.register_module()
class CascadeHeads(TwoStageHeads):
    """Cascade R-CNN and Cascade Mask R-CNN. All stages are compared, each on the *teacher's* boxes of the stage."""

    @classmethod
    def handles(cls, detector: nn.Module) -> bool:
        return type(getattr(detector, 'roi_head', None)) is CascadeRoIHead

    def proposals(
        self, raw: Mapping[str, Tensor], samples: SampleList, limit: int | None = None
    ) -> list:
        """Return the RPN's proposals with ``stages``, the boxes (n, stages, 4) that each stage pools."""
        proposals = super().proposals(raw, samples, limit)
        inputs, head = levels(ROI_INPUTS, raw), self.detector.roi_head
        stages = [[p.bboxes for p in proposals]]
        for stage in range(head.num_stages - 1):
            rois = bbox2roi(stages[-1])
            results = head._bbox_forward(stage, inputs, rois)
            check_comparable(results['cls_score'], results['bbox_pred'], head.bbox_head[stage])
            counts = [len(boxes) for boxes in stages[-1]]
            labels = results['cls_score'][:, :-1].argmax(1).split(counts)
            deltas = results['bbox_pred'].split(counts)
            stages.append(
                [
                    head.bbox_head[stage].regress_by_class(*image, sample.metainfo)
                    for *image, sample in zip(stages[-1], labels, deltas, samples, strict=True)
                ]
            )
        for index, p in enumerate(proposals):
            p.stages = torch.stack([boxes[index] for boxes in stages], 1)
        return proposals

    def _roi_outputs(self, inputs: Sequence[Tensor], proposals: list) -> list[HeadOutput]:
        head = self.detector.roi_head
        outputs = []
        for stage in range(head.num_stages):
            rois = bbox2roi([p.stages[:, stage] for p in proposals])
            results = head._bbox_forward(stage, inputs, rois)
            logits = results['cls_score']
            suffix = f'_{stage}'
            outputs += roi_outputs(logits, results['bbox_pred'], head.bbox_head[stage], suffix)
            if head.with_mask:
                first = self._best(proposals, rois)
                masks = head._mask_forward(stage, inputs, rois[first])['mask_preds']
                outputs.append(roi_masks(masks, logits[first], suffix))
        return outputs
