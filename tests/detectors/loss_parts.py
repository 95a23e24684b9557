"""Gradients of the parts of the semantic loss, for the comparison of their sizes."""

import re

import torch
from torch import Tensor

from semidff.models import FeatureSemantics, SemiDFF
from semidff.models.objectives import Distillation
from semidff.models.spatial import SpatialModule

from .stock_detectors import Size, motion_of, pictures
from .video_detectors import SEMANTIC

TRAINED = 0.3
"""Score above which the teacher counts as trained, so that its loss parts can be compared."""
BALANCED = 30.0
"""Largest ratio of the gradient norms of two loss parts."""
CONSTANT = 0.02
"""Standard deviation of the teacher's quality below which its loss part is not compared."""
STAGE = re.compile(r'_\d+$')
"""What a cascade adds to the names of its stages' parts."""


def check_balance(model: SemiDFF, score: float, size: Size) -> dict[str, float]:
    """Look for trained weights without gradient and, of a trained teacher, unbalanced parts."""
    torch.manual_seed(0)
    images, labeled = pictures(size, next(model.parameters()).device)
    model.set_objectives(*SEMANTIC)
    pairs = torch.stack((images, images.roll(4, -1)), 1)
    sum(model.loss(pairs, labeled).values()).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    norms = gradient_norms(model, images, labeled)
    spread = quality_spread(model.teacher.spatial, images, labeled)
    constant = spread is not None and spread < CONSTANT
    compared = [norm for name, norm in norms.items() if not (constant and name == 'quality')]
    assert score < TRAINED or max(compared) <= BALANCED * min(compared)
    return norms


@torch.no_grad()
def quality_spread(teacher: SpatialModule, images: Tensor, labeled: list) -> float | None:
    """Return the standard deviation of the teacher's quality at objects; None without one.

    A quality that is the same at all objects, as of a teacher whose boxes all fit, does not show
    that they have moved.
    """
    outputs, _ = teacher.head_outputs(teacher.features(images), labeled)
    for output in outputs:
        if output.name == 'quality' and output.weight.dim():  # an objectness has one weight for all
            values, weight = output.values.sigmoid()[:, 0], output.weight / output.weight.sum()
            return (values - values @ weight).square().dot(weight).sqrt().item()
    return None


def gradient_norms(model: SemiDFF, images: Tensor, labeled: list) -> dict[str, float]:
    """Return the mean norms of the parts' gradients with respect to the flow, of four motions.

    The flow is what all parts train at every split point, so their gradients have the same unit; it
    is 0 here, which is wrong for pictures that move
    (:func:`~tests.detectors.stock_detectors.motion_of`). The parts of a cascade's stages are added:
    classes, boxes and masks are one part each.
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
