"""Detectors with an RPN and an RoI head: Faster, Mask and Cascade R-CNN, and R-FCN."""

from collections.abc import Mapping, Sequence

import torch
from mmcv._ext import nms
from mmdet.models.detectors import TwoStageDetector
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.models.roi_heads.mask_heads import GridHead
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox2roi
from mmengine.structures import InstanceData
from torch import Tensor, nn

from semidff.models.rfcn.rfcn import RFCN, ScoreMaps

from .box_outputs import BOXES, MASKS, count_objects, delta_unit
from .dense_heads import ROI_INPUTS, DenseHeads, not_comparable
from .fixed_shape import Candidates, FixedShape, knows, knows_roi_head, knows_rpn
from .head_family import HEAD_FAMILIES, HeadOutput, Raw, levels, numbered, with_test_cfg


@HEAD_FAMILIES.register_module()
class TwoStageHeads(DenseHeads):
    """Two-stage detectors with mmdet's standard RoI head, with or without masks.

    Raw outputs are those of the RPN and the maps that the RoI head reads (``roi_inputs_0``). The
    semantic loss compares the RPN's outputs anchor by anchor, and the RoI head's on the teacher's
    proposals.
    """

    kinds, priority = (TwoStageDetector,), 1
    splits = dict(ExtractFeatSplit=48, OutputSplit=32)  # maps for RoIs have many cells
    contiguous = (GridHead,)  # calls `view` on its outputs
    prefix, box_weight = 'rpn_', 0.5  # the RoI head corrects the boxes of proposals
    head_name = 'rpn_head'
    towers = ()
    masks_per_image = 100
    """Masks are compared on as many proposals of an image as it has detections at most."""

    def raw_outputs(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        return super().raw_outputs(inputs) | numbered(ROI_INPUTS, inputs[: self._levels_read()])

    def proposals(
        self, raw: Raw, samples: SampleList, test_cfg: dict | None = None, limit: int | None = None
    ) -> list:
        metas = [sample.metainfo for sample in samples]
        head = with_test_cfg(self.detector, test_cfg).rpn_head
        found = head.predict_by_feat(*self._outputs(raw), batch_img_metas=metas, rescale=False)
        return [image[:limit] for image in found]  # in the order of their scores

    def predict(self, detector: nn.Module, inputs: Tensor, samples: SampleList) -> SampleList:
        several = inputs.device.type == 'cpu' and len(samples) > 1
        if not (several and self._is_known(detector)):
            return super().predict(detector, inputs, samples)
        results = self.detect_batch(detector, detector.extract_feat(inputs), samples)
        return detector.add_pred_to_datasample(samples, results)

    def detect_batch(
        self, detector: nn.Module, inputs: Sequence[Tensor] | ScoreMaps, samples: SampleList
    ) -> list[InstanceData]:
        """Return the detections of several frames on a CPU, given the inputs of both heads.

        Results are mmdet's, whose post-processing runs image by image: hundreds of operators on
        small tensors, whose calls take longer than their arithmetic.
        """
        rpn, roi_head, image = detector.rpn_head, detector.roi_head, torch.arange(len(samples))
        geometry = [(*sample.img_shape[:2], *sample.scale_factor[:2]) for sample in samples]
        geometry = torch.tensor(geometry, dtype=torch.float64)
        outputs = rpn(inputs)
        found = FixedShape(geometry).anchors(rpn, outputs, self._priors(outputs[0]))
        image, found = _suppressed(found, image, rpn.test_cfg)
        # Proposals take the place of frames: each frame has as many as it has.
        found = Candidates(*(column[:, None] for column in found))
        found = FixedShape(geometry[image]).classified(roi_head, inputs, found, image)
        image, found = _suppressed(found, image, roi_head.test_cfg)
        counts = image.bincount(minlength=len(samples)).tolist()
        columns = zip(*(each.split(counts) for each in found[:3]), strict=True)
        return [InstanceData(bboxes=b, scores=s, labels=n) for b, s, n in columns]

    def _is_known(self, detector: nn.Module) -> bool:
        """Return whether :mod:`.fixed_shape` knows the post-processing of a detector."""
        plain = knows(detector, TwoStageDetector.predict)
        return plain and knows_rpn(detector.rpn_head) and knows_roi_head(detector.roi_head)

    def fixed_shape(self, detector: nn.Module, raw: Raw, geometry: Tensor) -> Tensor | None:
        if not self._is_known(detector):
            return None
        rpn, roi = detector.rpn_head, detector.roi_head
        fixed, outputs = FixedShape(geometry), self._outputs(raw)
        found, exact = fixed.proposals(rpn, outputs, self._priors(outputs[0]))
        results = fixed.rois(roi, self._roi_inputs(raw), found)
        results[:, -1, 0] *= exact
        return results

    def _roi_inputs(self, raw: Raw) -> Sequence[Tensor]:
        return levels(ROI_INPUTS, raw)

    def head_outputs(
        self, raw: Raw, samples: SampleList, proposals: list | None
    ) -> list[HeadOutput]:
        dense = super().head_outputs(raw, samples, None)
        if proposals is None:
            return dense
        return dense + self._roi_outputs(self._roi_inputs(raw), proposals)

    def _roi_outputs(self, inputs: Sequence[Tensor], proposals: list) -> list[HeadOutput]:
        head = self.detector.roi_head
        if type(head).forward is not StandardRoIHead.forward:
            raise not_comparable(self.detector)
        return self._stage_outputs(inputs, [p.bboxes for p in proposals], head.bbox_head)

    def _stage_outputs(
        self, inputs: Sequence[Tensor], boxes: Sequence[Tensor], bbox_head: nn.Module, *stage: int
    ) -> list[HeadOutput]:
        """Return the outputs on each image's boxes, of a stage if there are several."""
        head, rois = self.detector.roi_head, bbox2roi(boxes)
        suffix = ''.join(f'_{i}' for i in stage)
        results = head._bbox_forward(*stage, inputs, rois)
        logits = results['cls_score']
        outputs = roi_outputs(logits, results['bbox_pred'], bbox_head, suffix)
        if head.with_mask:
            ranks = torch.cat([torch.arange(len(image), device=rois.device) for image in boxes])
            first = ranks < self.masks_per_image
            masks = head._mask_forward(*stage, inputs, rois[first])['mask_preds']
            outputs.append(roi_masks(masks, logits[first], suffix))
        return outputs

    def _levels_read(self) -> int | None:
        """Return how many levels the RoI extractors read, None if the head may read others too."""
        head = self.detector.roi_head
        if type(head) not in (StandardRoIHead, CascadeRoIHead):
            return None
        extractors = [m for m in head.modules() if isinstance(m, BaseRoIExtractor)]
        return max(extractor.num_inputs for extractor in extractors)


@HEAD_FAMILIES.register_module()
class CascadeHeads(TwoStageHeads):
    """Cascade R-CNN, with masks or without: all stages, each on the *teacher's* boxes."""

    priority = 2

    @classmethod
    def handles(cls, detector: nn.Module) -> bool:
        return type(getattr(detector, 'roi_head', None)) is CascadeRoIHead

    def proposals(self, raw: Raw, samples: SampleList, *args, **kwargs) -> list:
        """Return the RPN's proposals with ``stages``, the boxes (n, stages, 4) that stages pool."""
        proposals = super().proposals(raw, samples, *args, **kwargs)
        inputs, head = self._roi_inputs(raw), self.detector.roi_head
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
        outputs = []
        for stage, head in enumerate(self.detector.roi_head.bbox_head):
            boxes = [p.stages[:, stage] for p in proposals]
            outputs += self._stage_outputs(inputs, boxes, head, stage)
        return outputs


@HEAD_FAMILIES.register_module()
class RFCNHeads(TwoStageHeads):
    """R-FCN. Raw outputs are the four :class:`~semidff.models.rfcn.rfcn.ScoreMaps`.

    All outputs are compared as they are, with means over all anchors and RoIs, as the paper does.
    """

    kinds, priority = (RFCN,), 2
    output_modules = (
        'rpn_head.rpn_cls',
        'rpn_head.rpn_reg',
        'roi_head.bbox_head.conv_cls',
        'roi_head.bbox_head.conv_reg',
    )

    def raw_outputs(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        (level,) = inputs
        rpn, roi = self.detector.rpn_head, self.detector.roi_head.bbox_head
        return ScoreMaps(*rpn.score_maps(level), *roi.score_maps(level))._asdict()

    def detector_on_raw(self, raw: Raw) -> nn.Module:
        return self.detector_on(ScoreMaps(**raw))

    def head_outputs(
        self, raw: Raw, samples: SampleList, proposals: list | None
    ) -> list[HeadOutput]:
        outputs = super().head_outputs(raw, samples, proposals)
        return [output._replace(unit=1.0, weight=None) for output in outputs]

    def _outputs(self, raw: Raw) -> tuple[list[Tensor], ...]:
        return self.detector.rpn_head(ScoreMaps(**raw))

    def _roi_inputs(self, raw: Raw) -> ScoreMaps:
        return ScoreMaps(**raw)


def roi_outputs(
    logits: Tensor, deltas: Tensor | None, head: nn.Module, stage: str = ''
) -> list[HeadOutput]:
    """Return the outputs of a box head.

    Class scores are divided by the number of objects, as for dense heads. Boxes of a class are
    compared in proportion to the squared probability of the class, since others were never trained
    at that RoI.

    Args:
        logits: (R, C + 1), background last.
        deltas: (R, 4 * C) or (R, 4), None if the head has no box outputs.
    """
    check_comparable(logits, deltas, head)
    likely = logits.detach().float().softmax(1)[:, :-1]
    foreground = likely.sum(1, keepdim=True)
    everywhere = 1 / count_objects(foreground)
    outputs = [HeadOutput(f'roi_cls{stage}', 'softmax', logits, 1.0, everywhere, 'classes')]
    if deltas is not None:
        of = foreground if head.reg_class_agnostic else likely
        values = deltas.reshape(-1, 4)
        # In units of its stds the targets of a stage have a variance of about 1. Later stages of a
        # cascade correct less and have smaller ones; in the units of the first stage their loss
        # would vanish.
        unit = delta_unit(values, head, head.bbox_coder.stds)
        weight = BOXES * of.square().flatten() / count_objects(of)
        outputs.append(HeadOutput(f'roi_box{stage}', 'offsets', values, unit, weight, 'roi_boxes'))
    return outputs


def check_comparable(logits: Tensor, deltas: Tensor | None, head: nn.Module) -> None:
    """Check that the outputs of a box head are those that :func:`roi_outputs` compares."""
    if getattr(head, 'custom_cls_channels', False):
        raise not_comparable(head, head.loss_cls)
    are_deltas = isinstance(deltas, Tensor) and hasattr(head.bbox_coder, 'stds')
    if logits.shape[1] != head.num_classes + 1 or not (deltas is None or are_deltas):
        raise not_comparable(head)


def roi_masks(masks: Tensor, logits: Tensor, stage: str = '') -> HeadOutput:
    """Return a mask head's output, a row per RoI and class, weighted by the class's probability.

    Args:
        masks: Mask logits (R, C, h, w), or (R, 1, h, w) of a class-agnostic head.
        logits: Class logits (R, C + 1) of the same RoIs.
    """
    likely = logits.detach().float().softmax(1)[:, :-1]
    of = likely if masks.shape[1] > 1 else likely.sum(1, keepdim=True)
    pixels = masks.shape[2] * masks.shape[3]
    weight = MASKS * of.square().flatten() / count_objects(of) / pixels
    values = masks.reshape(-1, pixels)
    return HeadOutput(f'roi_mask{stage}', 'sigmoid', values, 1.0, weight, 'boxes')


def _suppressed(found: Candidates, image: Tensor, test_cfg: Mapping) -> tuple[Tensor, Candidates]:
    """Return the best boxes (K,) of all images, in order, and their images."""
    place = found.valid.flatten().nonzero()[:, 0]
    image = image.repeat_interleave(found.valid.shape[1])[place]
    columns = [column.flatten(0, 1)[place] for column in found[:3]]
    settings, most = test_cfg.nms, max(test_cfg.max_per_img, 0) or None
    chosen, start = [place[:0]], 0
    for count in image.bincount().tolist():
        boxes, scores, labels = (column[start : start + count] for column in columns)
        if count and not settings.get('class_agnostic', False):
            boxes = boxes + (labels.to(boxes) * (boxes.max() + 1))[:, None]  # as batched_nms
        best = nms(
            boxes, scores, iou_threshold=settings.iou_threshold, offset=settings.get('offset', 0)
        )
        chosen.append(best[:most] + start)
        start += count
    best = torch.cat(chosen)
    return image[best], Candidates(*(column[best] for column in columns), best >= 0)
