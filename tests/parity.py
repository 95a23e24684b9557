"""Comparison of an exported video detector with the one in PyTorch: all outputs before NMS, and detections after."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor

from semidff.deployment import ExportedGraphs
from semidff.inference.executors.exported import KEY, NON_KEY
from semidff.models import VideoDetector
from semidff.models.graphs import KeyGraph, NonKeyGraph
from semidff.models.spatial.head_family import levels, numbered
from semidff.utils.tables import text_table
from tests.tiny.stages import results, stages

TOLERANCE = 1e-3  # of relative differences
SAME_BOX, SAME_SCORE = 0.99, 1e-3  # least overlap and largest difference of scores of counterparts


class Difference(NamedTuple):
    """Largest absolute value of a tensor, and largest differences of another one from it.

    The relative difference is that of an element relative to its size, to 1 for smaller elements, or to ``largest`` if
    all are smaller than 1.
    """

    largest: float = 0.0
    absolute: float = 0.0
    relative: float = 0.0

    @classmethod
    def between(cls, reference: Tensor, other: Tensor) -> 'Difference':
        """Compare two tensors of equal shape; differences are infinite where one is not finite."""
        size = reference.abs()
        error = (reference - other).abs().nan_to_num(torch.inf, torch.inf)
        largest = size.nan_to_num(torch.inf, torch.inf).max().item()
        floor = min(largest, 1.0) or torch.finfo(reference.dtype).tiny
        relative = (error / size.clamp(min=floor)).nan_to_num(torch.inf, torch.inf)
        return cls(largest, error.max().item(), relative.max().item())


class ParityReport(NamedTuple):
    """Result of :func:`verify`. Counterparts have the same class, overlap by at least 0.99, and scores within 1e-3."""

    maps: dict[str, Difference]  # before NMS, by graph and output, the largest of all frames
    detections: int  # by PyTorch, in all frames
    lost: int  # of these without a counterpart by onnxruntime
    added: int  # detections by onnxruntime without a counterpart by PyTorch
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
def verify(model: VideoDetector, exported: ExportedGraphs, batches: Sequence[dict]) -> ParityReport:
    """Compare on a key frame and the frames that follow it; each graph runs on the outputs of the graph before it.

    ``batches`` are collated test batches of one frame each, ``exported`` the graphs of ``model``.
    """
    model.eval()
    maps: dict[str, Difference] = {}
    for graph, reference, other in _outputs(model, exported, batches):
        for output, expected in reference.items():
            name, difference = f'{graph} {output}', Difference.between(expected, other[output])
            maps[name] = Difference(*map(max, difference, maps.get(name, Difference())))
    found = (
        results(stages(detector, 'propagate', len(batches)), batches)
        for detector in (model, exported)
    )
    pairs = [(a.pred_instances, b.pred_instances) for a, b in zip(*found, strict=True)]
    return ParityReport(
        maps,
        detections=sum(len(a) for a, _ in pairs),
        lost=sum(_without_counterpart(a, b) for a, b in pairs),
        added=sum(_without_counterpart(b, a) for a, b in pairs),
        frames=len(batches),
    )


def _outputs(
    model: VideoDetector, exported: ExportedGraphs, batches: Sequence[dict]
) -> Iterator[tuple[str, dict[str, Tensor], dict[str, Tensor]]]:
    """Each frame's graph, and its outputs in PyTorch and in the runtime."""
    keys = None
    for batch in batches:
        frame, samples = model.preprocess(batch['inputs'], batch['data_samples'])
        if keys is None:
            inputs = [dict(frame=frame)] * 2
        else:
            inputs = [
                dict(key_image=key['key_image'], frame=frame)
                | numbered('key_features', levels('features', key))
                for key in keys
            ]
        kind = KeyGraph if keys is None else NonKeyGraph
        reference = kind(model).named(*inputs[0].values())
        found = exported.outputs(kind, inputs[1], samples[0])
        yield KEY if keys is None else NON_KEY, reference, found
        keys = keys or (reference, found)


def _without_counterpart(detections: InstanceData, others: InstanceData) -> int:
    if not len(others):
        return len(detections)
    same = bbox_overlaps(detections.bboxes, others.bboxes) >= SAME_BOX
    same &= detections.labels[:, None] == others.labels
    same &= (detections.scores[:, None] - others.scores).abs() <= SAME_SCORE
    return int((~same.any(1)).sum())
