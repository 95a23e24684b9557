"""How far an exported video detector is from the one in PyTorch: every output before NMS, and detections after."""

import copy
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor

from semidff.inference import VideoEngine
from semidff.models import VideoDetector
from semidff.models.spatial.levels import levels

from .graphs import KeyGraph, NonKeyGraph
from .onnx_video_detector import OnnxVideoDetector

TOLERANCE = 1e-3
"""Of :attr:`Difference.relative`."""

SAME_BOX, SAME_SCORE = 0.99, 1e-3
"""Smallest overlap and largest difference of scores at which two detections are one."""


class Difference(NamedTuple):
    """How far two tensors are apart.

    Attributes:
        largest: Largest absolute value of the reference.
        absolute: Largest absolute difference.
        relative: Largest difference of an element in relation to its size; to 1 where that is smaller, and to
            ``largest`` where even that is smaller.
    """

    largest: float = 0.0
    absolute: float = 0.0
    relative: float = 0.0

    @classmethod
    def between(cls, reference: Tensor, other: Tensor) -> 'Difference':
        """Of two tensors of equal shape; infinite where one is not finite."""
        if reference.shape != other.shape:
            raise ValueError(
                f'tensors of shapes {tuple(reference.shape)} and {tuple(other.shape)} cannot be compared'
            )
        size = reference.abs()
        apart = (reference - other).abs().nan_to_num(torch.inf, torch.inf)
        largest = size.max().item()
        floor = min(largest, 1.0) or torch.finfo(reference.dtype).tiny
        return cls(largest, apart.max().item(), (apart / size.clamp(min=floor)).max().item())

    def worst(self, other: 'Difference') -> 'Difference':
        """The larger of each figure."""
        return Difference(*map(max, self, other))


@torch.no_grad()
def compare_maps(
    model: VideoDetector, exported: OnnxVideoDetector, batches: Sequence[dict]
) -> dict[str, Difference]:
    """All outputs of both graphs, as they are used: what follows the key graph gets that graph's own outputs.

    Args:
        model: The model in PyTorch, in eval mode.
        exported: The same model's graphs.
        batches: Collated test batches of one frame each: a key frame, then frames that follow it.

    Returns:
        The worst difference of all frames by ``key.onnx features_0`` and the like.
    """
    found: dict[str, Difference] = {}
    inputs = [model.data_preprocessor(copy.deepcopy(b), False)['inputs'] for b in batches]
    for name, reference, other in _maps(model, exported, inputs):
        difference = Difference.between(reference, other)
        found[name] = difference.worst(found.get(name, Difference()))
    return found


def _maps(
    model: VideoDetector, exported: OnnxVideoDetector, frames: Sequence[Tensor]
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, PyTorch's and onnxruntime's result of every output for every frame."""
    keys = KeyGraph(model).named(frames[0]), exported.key_graph(frame=frames[0])
    yield from _pairs(exported.key_graph.path.name, *keys)
    images = [key['key_image'] for key in keys]
    features = [levels('features', key) for key in keys]
    graph = NonKeyGraph(model)
    for frame in frames[1:]:
        reference = graph.named(images[0], frame, *features[0])
        other = exported.run_non_key(images[1], frame, features[1])
        yield from _pairs(exported.non_key_graph.path.name, reference, other)


def _pairs(
    graph: str, reference: dict[str, Tensor], other: dict[str, Tensor]
) -> Iterator[tuple[str, Tensor, Tensor]]:
    if reference.keys() != other.keys():
        raise ValueError(
            f'{graph}: its outputs are {list(other)}, the model has {list(reference)}; export again'
        )
    for name, maps in reference.items():
        yield f'{graph} {name}', maps, other[name]


def unmatched_detections(
    model: VideoDetector, exported: OnnxVideoDetector, batches: Sequence[dict], key_interval: int
) -> tuple[int, int, int]:
    """Detections after NMS by the method *propagate*.

    Args:
        model: The model in PyTorch.
        exported: The same model's graphs.
        batches: Collated test batches of one frame each, of one video.
        key_interval: Key-frame duration l.

    Returns:
        How many there are in PyTorch; how many of these have no counterpart (same class, overlap of at least 0.99,
        scores within 1e-3) in onnxruntime; and the other way round.
    """
    reference, other = (_detect(m, batches, key_interval) for m in (model, exported))
    pairs = [(a.pred_instances, b.pred_instances) for a, b in zip(reference, other, strict=True)]
    return (
        sum(len(a) for a, _ in pairs),
        sum(_without_counterpart(a, b) for a, b in pairs),
        sum(_without_counterpart(b, a) for a, b in pairs),
    )


def _detect(model: VideoDetector, batches: Sequence[dict], key_interval: int) -> SampleList:
    engine = VideoEngine(model, 'propagate', key_interval)
    return [result for batch in batches for result in engine.push(copy.deepcopy(batch))]


def _without_counterpart(detections: InstanceData, others: InstanceData) -> int:
    if not len(others):
        return len(detections)
    same = bbox_overlaps(detections.bboxes, others.bboxes) >= SAME_BOX
    same &= detections.labels[:, None] == others.labels
    same &= (detections.scores[:, None] - others.scores).abs() <= SAME_SCORE
    return int((~same.any(1)).sum())
