"""Gradients of the parts of the semantic loss, for the comparison of their sizes."""

import re

import torch
from torch import Tensor

from semidff.models import FeatureSemantics, SemiDFF
from semidff.models.objectives import Distillation
from semidff.models.spatial import SpatialModule

from .stock_detectors import motion_of

STAGE = re.compile(r'_\d+$')
"""What a cascade adds to the names of its stages' parts."""


@torch.no_grad()
def quality_spread(teacher: SpatialModule, images: Tensor, labeled: list) -> float | None:
    """Return the standard deviation of the teacher's quality (IoU, centerness) at objects; None if it has none.

    A quality that is the same at all objects, as of a teacher whose boxes all fit, does not show that they have moved.
    """
    raw = teacher.raw_outputs(teacher.features(images))
    proposals = teacher.heads.proposals(raw, labeled)
    for output in teacher.heads.head_outputs(raw, labeled, proposals):
        if output.name == 'quality' and output.weight.dim():  # an objectness has one weight for all
            values, weight = output.values.sigmoid()[:, 0], output.weight / output.weight.sum()
            return (values - values @ weight).square().dot(weight).sqrt().item()
    return None


def gradient_norms(model: SemiDFF, images: Tensor, labeled: list) -> dict[str, float]:
    """Return the mean norms of the loss parts' gradients with respect to the flow, in pixels, of four motions.

    The flow is what all parts train at every split point, so their gradients have the same unit; it is 0 here, which
    is wrong for pictures that move (:func:`~tests.detectors.stock_detectors.motion_of`). The parts of a cascade's
    stages are added: classes, boxes and masks are one part each.
    """
    motion = motion_of(model.temporal.feat_strides)
    found = [
        _norms(model, images, images.roll(shift, (2, 3)), labeled)
        for shift in ((0, motion), (motion, 0), (0, -motion), (-motion, 0))
    ]
    return {name: sum(norms[name] for norms in found) / len(found) for name in found[0]}


def _norms(model: SemiDFF, key: Tensor, current: Tensor, labeled: list) -> dict[str, float]:
    spatial, temporal = model.spatial, model.temporal
    with torch.no_grad():
        features, target = spatial.features(key), spatial.features(current)
        flow, *others = temporal.fields(temporal.prepare(key), temporal.prepare(current))
    flow = torch.zeros_like(flow).requires_grad_()
    stride = temporal.flow_network.stride
    propagated = temporal.propagate(features, flow / stride, *others)
    batch = Distillation(spatial, model.teacher, propagated, target, labeled)
    parts: dict[str, Tensor] = {}
    for name, loss in FeatureSemantics()(batch).items():
        part = STAGE.sub('', name.removeprefix('loss_'))
        parts[part] = parts.get(part, 0) + loss
    norms = {}
    for name, loss in parts.items():
        (gradient,) = torch.autograd.grad(loss, flow, retain_graph=True)
        norms[name] = gradient.norm().item()
    return norms
