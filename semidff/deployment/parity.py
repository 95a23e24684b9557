"""Comparison of an exported video detector with the one in PyTorch: all outputs before NMS, and detections after."""

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
from semidff.models.spatial.head_family import levels
from semidff.utils.tables import text_table

from .description import KEY, NON_KEY
from .graphs import KeyGraph, NonKeyGraph
from .onnx_video_detector import OnnxVideoDetector

TOLERANCE = 1e-3
"""Bound of :attr:`Difference.relative`."""

SAME_BOX, SAME_SCORE = 0.99, 1e-3
"""Smallest overlap and largest difference of scores of detections that are counterparts."""


class Difference(NamedTuple):
    """Difference of two tensors.

    Attributes:
        largest: Largest absolute value of the reference.
        absolute: Largest absolute difference.
        relative: Largest difference of an element relative to its size, to 1 for smaller elements, or to ``largest``
            if all are smaller than 1.
    """

    largest: float = 0.0
    absolute: float = 0.0
    relative: float = 0.0

    @classmethod
    def between(cls, reference: Tensor, other: Tensor) -> 'Difference':
        """Compare two tensors of equal shape; the difference is infinite where one is not finite."""
        if reference.shape != other.shape:
            raise ValueError(
                f'tensors of shapes {tuple(reference.shape)} and {tuple(other.shape)} cannot be compared'
            )
        size = reference.abs()
        error = (reference - other).abs().nan_to_num(torch.inf, torch.inf)
        largest = size.nan_to_num(torch.inf, torch.inf).max().item()
        floor = min(largest, 1.0) or torch.finfo(reference.dtype).tiny
        relative = (error / size.clamp(min=floor)).nan_to_num(torch.inf, torch.inf)
        return cls(largest, error.max().item(), relative.max().item())

    def worst(self, other: 'Difference') -> 'Difference':
        """Return the larger of each number."""
        return Difference(*map(max, self, other))


class ParityReport(NamedTuple):
    """Result of :func:`verify`.

    Attributes:
        maps: Differences before NMS, by graph and output, the largest of all frames.
        detections: Number of detections in PyTorch in all frames.
        lost: Number of these without a counterpart (same class, overlap of at least 0.99, scores within 1e-3) in
            onnxruntime.
        added: Number of detections in onnxruntime without a counterpart in PyTorch.
        frames: Number of frames.
    """

    maps: dict[str, Difference]
    detections: int
    lost: int
    added: int
    frames: int

    @property
    def equal(self) -> bool:
        """Whether all outputs before NMS agree to :data:`TOLERANCE`."""
        return all(difference.relative < TOLERANCE for difference in self.maps.values())

    def __str__(self) -> str:
        rows = [('output', 'largest value', 'absolute', 'relative', '')]
        for name, (largest, absolute, relative) in self.maps.items():
            mark = '' if relative < TOLERANCE else f'above {TOLERANCE}'
            rows.append((name, f'{largest:.4g}', f'{absolute:.2e}', f'{relative:.2e}', mark))
        return (
            f'{text_table(rows)}\n'
            f'after NMS, {self.frames} frames: {self.detections} detections by PyTorch, of which {self.lost} '
            f'have no counterpart by onnxruntime; {self.added} the other way round'
        )


@torch.no_grad()
def verify(
    model: VideoDetector, exported: OnnxVideoDetector, batches: Sequence[dict]
) -> ParityReport:
    """Compare on a key frame and the frames that follow it.

    Each graph runs on the outputs of the graph before it, as in use.

    Args:
        model: The model in PyTorch.
        exported: The same model's graphs.
        batches: Collated test batches of one frame each, at least two.

    Raises:
        ValueError: If there is no non-key frame, or the graphs have other outputs than the model.
    """
    if len(batches) < 2:
        raise ValueError('a single frame is a key frame; give a video with at least two frames')
    model.eval()
    maps: dict[str, Difference] = {}
    inputs = [model.data_preprocessor(copy.deepcopy(b), False)['inputs'] for b in batches]
    for graph, reference, other in _outputs(model, exported, inputs):
        if reference.keys() != other.keys():
            raise ValueError(
                f'{graph}: its outputs are {list(other)}, the model has {list(reference)}; export again'
            )
        for output, expected in reference.items():
            name, difference = f'{graph} {output}', Difference.between(expected, other[output])
            maps[name] = difference.worst(maps.get(name, Difference()))
    results = (_detect(detector, batches) for detector in (model, exported))
    pairs = [(a.pred_instances, b.pred_instances) for a, b in zip(*results, strict=True)]
    return ParityReport(
        maps,
        detections=sum(len(a) for a, _ in pairs),
        lost=sum(_without_counterpart(a, b) for a, b in pairs),
        added=sum(_without_counterpart(b, a) for a, b in pairs),
        frames=len(batches),
    )


def _outputs(
    model: VideoDetector, exported: OnnxVideoDetector, frames: Sequence[Tensor]
) -> Iterator[tuple[str, dict[str, Tensor], dict[str, Tensor]]]:
    """Each frame's graph, and its outputs in PyTorch and in onnxruntime."""
    keys = KeyGraph(model).named(frames[0]), exported.key_graph(frame=frames[0])
    yield KEY, *keys
    features = [levels('features', key) for key in keys]
    graph = NonKeyGraph(model)
    for frame in frames[1:]:
        reference = graph.named(keys[0]['key_image'], frame, *features[0])
        yield NON_KEY, reference, exported.run_non_key(keys[1]['key_image'], frame, features[1])


def _detect(model: VideoDetector, batches: Sequence[dict]) -> SampleList:
    engine = VideoEngine(model, 'propagate', key_interval=len(batches))
    return [result for batch in batches for result in engine.push(copy.deepcopy(batch))]


def _without_counterpart(detections: InstanceData, others: InstanceData) -> int:
    if not len(others):
        return len(detections)
    same = bbox_overlaps(detections.bboxes, others.bboxes) >= SAME_BOX
    same &= detections.labels[:, None] == others.labels
    same &= (detections.scores[:, None] - others.scores).abs() <= SAME_SCORE
    return int((~same.any(1)).sum())
