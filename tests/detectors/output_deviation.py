"""How far the outputs of a video detector are from those of another one with the same weights."""

from collections.abc import Iterable
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torchvision.ops import box_iou

from semidff.models import VideoDetector
from semidff.models.spatial import plain_samples


@torch.no_grad()
def output_deviation(expected: VideoDetector, found: VideoDetector, images: Tensor) -> float:
    """Return the largest relative deviation of an output of the first head, 0 if all are equal.

    Where the encoder selects the queries (DINO, two-stage Deformable DETR), rounding changes which queries these are,
    and their order. There it is the largest deviation of a good box: of its score, or of a coordinate relative to its
    longer side.

    Args:
        expected: The reference.
        found: The model that is compared.
        images: Normalized frames (N, 3, H, W).
    """
    if getattr(expected.spatial.detector, 'as_two_stage', False):
        samples = zip(_predictions(expected, images), _predictions(found, images), strict=True)
        return max(_box_deviation(*pair) for pair in samples)
    outputs = zip(_head_outputs(expected, images), _head_outputs(found, images), strict=True)
    return max(((a - b).norm() / a.norm().clamp(min=1e-12)).item() for a, b in outputs)


def _predictions(model: VideoDetector, images: Tensor) -> list[InstanceData]:
    samples = plain_samples(len(images), tuple(images.shape[-2:]))
    return [sample.pred_instances for sample in model.predict(images, samples)]


def _box_deviation(expected: InstanceData, found: InstanceData) -> float:
    """Compare the boxes with at least half of the best score with the nearest ones of the same class."""
    worst = 0.0
    for good in expected[expected.scores >= expected.scores.max() / 2]:
        others = found[found.labels == good.labels]
        if not len(others):
            return 1.0
        nearest = others[box_iou(good.bboxes, others.bboxes)[0].argmax().item()]
        longer = (good.bboxes[0, 2:] - good.bboxes[0, :2]).max()
        boxes = (good.bboxes - nearest.bboxes).abs().max() / longer
        worst = max(worst, boxes.item(), (good.scores - nearest.scores).abs().item())
    return worst


def first_head(model: VideoDetector) -> nn.Module:
    """Return the head whose outputs are the raw outputs, or the proposals of the second stage."""
    detector = model.spatial.detector
    panoptic = getattr(detector, 'panoptic_head', None)
    return panoptic or model.spatial.heads.dense_head or detector.bbox_head


def _head_outputs(model: VideoDetector, images: Tensor) -> list[Tensor]:
    """Return what the first head outputs, with the levels of an output as one tensor."""
    found, head = [], first_head(model)
    # Copies, since some heads' post-processing works in place (YOLOv3's sigmoid of channels-last maps).
    handle = head.register_forward_hook(
        lambda module, inputs, output: found.append(
            [
                torch.cat([level.float().flatten() for level in _tensors(maps)])
                for maps in (output if isinstance(output, tuple) else (output,))
            ]
        )
    )
    _predictions(model, images)
    handle.remove()
    return found[-1]


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    for item in value if isinstance(value, list | tuple) else ():
        yield from _tensors(item)
