"""Post-processing of several frames at once on a CPU, with mmdet's results.

mmdet's runs image by image: hundreds of operators on small tensors, whose calls take longer than their arithmetic.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmcv._ext import nms
from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from torch import Tensor, nn

from .fixed_shape import Candidates, FixedShape


def two_stage(
    detector: nn.Module,
    inputs: Any,
    outputs: tuple,
    priors: Sequence[Tensor],
    samples: SampleList,
) -> Iterator[InstanceData]:
    """Yield the detections of each frame, for a detector whose RPN and RoI head :mod:`.fixed_shape` knows.

    Args:
        inputs: Of the RoI head.
        outputs, priors: Of the RPN, by level.
    """
    rpn, roi_head, image = detector.rpn_head, detector.roi_head, torch.arange(len(samples))
    geometry = [(*sample.img_shape[:2], *sample.scale_factor[:2]) for sample in samples]
    geometry = torch.tensor(geometry, dtype=torch.float64)
    found = FixedShape(geometry).anchors(rpn, outputs, priors)
    image, found = _suppressed(found, image, rpn.test_cfg)
    # Proposals take the place of frames: each frame has as many as it has.
    found = Candidates(*(column[:, None] for column in found))
    found = FixedShape(geometry[image]).classified(roi_head, inputs, found, image)
    image, found = _suppressed(found, image, roi_head.test_cfg)
    counts = image.bincount(minlength=len(samples)).tolist()
    for boxes, scores, labels in zip(*(each.split(counts) for each in found[:3]), strict=True):
        yield InstanceData(bboxes=boxes, scores=scores, labels=labels)


def _suppressed(found: Candidates, image: Tensor, test_cfg: Mapping) -> tuple[Tensor, Candidates]:
    """Return the best boxes (K,) of all images, in order, and their images, given candidates (N, M) of images (N,)."""
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
