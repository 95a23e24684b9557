"""Box outputs of dense heads in comparable units, and weights of anchors in the semantic loss.

The unit of an offset is a tenth of the object's size, that of a logarithm 0.2, as the
``target_stds`` of R-CNN. Where an output is in pixels or cells, the object's size is that of the
teacher's box at the same anchor or point.
"""

from collections.abc import Sequence

import torch
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from .head_family import HeadOutput, rows

CENTER, LOGARITHM = 0.1, 0.2  # units
# Weights of what is compared at objects only. They bring the parts' gradients with respect to the
# flow within a factor of 30 of each other.
BOXES = 4
QUALITY = 12  # centerness and IoU, which vary little among good boxes
CLASSES = 10  # beside an objectness: the classes of objects are certain
MASKS = 12  # means over the pixels of an object, of which most are certain


def deltas(maps: Sequence[Tensor], head: nn.Module) -> HeadOutput:
    """Offsets of the center, relative to the anchor, and logarithms; see :func:`delta_unit`."""
    values = rows(maps, 4)
    units = CENTER, CENTER, LOGARITHM, LOGARITHM
    return HeadOutput('box', 'offsets', values, delta_unit(values, head, units))


def delta_unit(values: Tensor, head: nn.Module, units: Sequence[float]) -> Tensor:
    """Return the units of deltas (R, 4), from those of relative centers and logarithms."""
    stds = values.new_tensor(head.bbox_coder.stds)
    size = limited_exp(values.detach()[:, 2:] * stds[2:])
    return torch.cat((size, torch.ones_like(size)), 1) * values.new_tensor(units) / stds


def limited_exp(logarithms: Tensor) -> Tensor:
    # About 60 at most, as box coders limit them; without objects a head may give any.
    return logarithms.clamp(-4, 4).exp()


def distances(maps: Sequence[Tensor], head: nn.Module) -> HeadOutput:
    """Distances from the point to the left, top, right and bottom edges, in pixels or cells."""
    return _relative(rows(maps, 4), (1, 1, 1, 1), (0, 1), (2, 3))


def corners(maps: Sequence[Tensor], head: nn.Module) -> HeadOutput:
    """Corners (x1, y1, x2, y2) relative to the point, in cells."""
    return _relative(rows(maps, 4), (-1, -1, 1, 1), (0, 1), (2, 3))


def top_bottom(maps: Sequence[Tensor], head: nn.Module) -> HeadOutput:
    """Distances to the top, bottom, left and right edges, relative to the anchor's size."""
    return _relative(rows(maps, 4), (1, 1, 1, 1), (0, 2), (1, 3), smallest=0.1)


def logarithms(maps: Sequence[Tensor], head: nn.Module) -> HeadOutput:
    """Logarithms of the distances."""
    return HeadOutput('box', 'offsets', rows(maps, 4), LOGARITHM)


def centers(maps: Sequence[Tensor], head: nn.Module) -> HeadOutput:
    """Offsets of the center in cells, logarithms of width and height in cells."""
    values = rows(maps, 4)
    size = limited_exp(values[:, 2:])
    unit = torch.cat((CENTER * size, torch.full_like(size, LOGARITHM)), 1)
    return HeadOutput('box', 'offsets', values, unit)


def distributions(maps: Sequence[Tensor], head: nn.Module) -> HeadOutput:
    """Distributions over the distances to the edges (GFL, Eq. 5), four rows per point."""
    return HeadOutput('box', 'softmax', rows(maps, head.reg_max + 1))


def count_objects(foreground: Tensor) -> Tensor:
    """Return the sum of squared foreground probabilities, at least 1, a mean over all processes.

    A process whose frames show nothing would else give its background the weight that others give
    their objects.
    """
    return reduce_mean(foreground.square().sum()).clamp(min=1)


def joint(logits: Tensor, objectness: Tensor) -> Tensor:
    """Return the logits of the product of two probabilities with logits (R, C) and (R, 1)."""
    objectness = objectness.expand_as(logits)
    total = torch.stack((torch.zeros_like(logits), logits, objectness)).logsumexp(0)
    return logits + objectness - total


def weighted(
    logits: Tensor,
    boxes: HeadOutput,
    quality: Tensor | None = None,
    *,
    softmax: bool = False,
    objectness: bool = False,
    prefix: str = '',
    box_weight: float = BOXES,
) -> list[HeadOutput]:
    """Weight a dense head's outputs, so that anchors far from objects do not drown the others.

    Class scores and objectness are compared everywhere and divided by the number of objects, as in
    the focal loss; this number is the sum over the anchors of the squared foreground probability of
    the teacher. Boxes are compared in proportion to it, as is what is trained at objects only.

    Args:
        logits: Class logits (R, C) of sigmoids or, with the background last, of a ``softmax``.
        boxes: Box outputs, R rows or a multiple of R.
        quality: Logits of centerness, IoU or objectness (R, 1).
        objectness: Whether the quality is an objectness: a factor of the score that is trained
            everywhere, whereas the class logits are trained at objects only.
    """
    scores = logits.detach().float()
    foreground = scores.softmax(1)[:, :-1].sum(1) if softmax else scores.sigmoid().amax(1)
    if objectness:
        foreground = foreground * quality.detach().float().sigmoid()[:, 0]
    count = count_objects(foreground)
    at_objects, everywhere = foreground.square() / count, 1 / count
    sides = len(boxes.values) // len(logits)
    kind, weight = 'softmax' if softmax else 'sigmoid', everywhere
    if objectness:
        weight = CLASSES * at_objects
    of_boxes = box_weight * at_objects.repeat_interleave(sides) / sides
    outputs = [
        HeadOutput(f'{prefix}cls', kind, logits, weight=weight),
        boxes._replace(name=f'{prefix}box', weight=of_boxes, role='boxes'),
    ]
    if quality is not None:
        weight = everywhere if objectness else QUALITY * at_objects
        outputs.append(HeadOutput(f'{prefix}quality', 'sigmoid', quality, weight=weight))
    return outputs


def _relative(
    values: Tensor,
    signs: Sequence[int],
    first: Sequence[int],
    second: Sequence[int],
    smallest: float = 1.0,
) -> HeadOutput:
    """Divide by width and height of the box, of at least ``smallest``: sums of two columns each."""
    signed = values.detach() * values.new_tensor(signs)
    size = (signed[:, first] + signed[:, second]).clamp(min=smallest)
    unit = torch.empty_like(values)
    unit[:, first] = unit[:, second] = CENTER * size
    return HeadOutput('box', 'offsets', values, unit)
