"""What differs between networks of the original's family, found in the names and shapes of a file."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol


class HasShape(Protocol):
    """An array or a tensor."""

    shape: tuple[int, ...]


def numbered(*counts: int) -> tuple[tuple[str, ...], ...]:
    """Names of the units of the four stages as in ResNet-101: a, b1, b2, ...; stages 2 and 5 are a, b, c."""
    first, *middle, last = counts
    units = (('a', *(f'b{i}' for i in range(1, count))) for count in middle)
    return (tuple('abcdefgh'[:first]), *units, tuple('abcdefgh'[:last]))


def lettered(*counts: int) -> tuple[tuple[str, ...], ...]:
    """Names of the units of the four stages as in ResNet-50: a, b, c, d, ..."""
    return tuple(tuple('abcdefgh'[:count]) for count in counts)


class Network(NamedTuple):
    """Sizes of a network.

    Attributes:
        units: Names of the residual units of stages 2 to 5.
        classes: Number of classes with background.
        anchors: Anchors per position.
        bins: Bins per side of the position-sensitive maps.
        box_groups: Groups of box outputs that *our* head has, 2 or 1; the original has 2.
    """

    units: tuple[tuple[str, ...], ...] = numbered(3, 4, 23, 3)
    classes: int = 31
    anchors: int = 9
    bins: int = 7
    box_groups: int = 2

    @property
    def depth(self) -> int:
        """Layers of the ResNet: 50, 101, 152."""
        return 3 * sum(map(len, self.units)) + 2


ORIGINAL = Network()
# The first of those with equal counts is how a file of ours is named when it is written.
_RESNETS = (
    lettered(3, 4, 6, 3),
    numbered(3, 4, 23, 3),
    numbered(3, 8, 36, 3),
    numbered(3, 4, 6, 3),
)
_UNIT = re.compile(r'(?:res|bn)([2-5])([a-z]\d*)_branch')


def network_of(params: Mapping[str, HasShape]) -> Network:
    """The network that parameters are of.

    Args:
        params: Parameters by the original's names. Sizes of heads that are not there, or that do not make sense, are
            the original's own.

    Returns:
        The network that has all residual units in the file; ResNet-101 if none has.
    """

    def channels(name: str) -> int:
        shape = params[name].shape if name in params else ()
        return shape[0] if shape else 0

    bins = math.isqrt(channels('rfcn_bbox_weight') // 8)
    if not bins or 8 * bins**2 != channels('rfcn_bbox_weight'):
        bins = ORIGINAL.bins
    return Network(
        units=units_of(params),
        classes=channels('rfcn_cls_weight') // bins**2 or ORIGINAL.classes,
        anchors=channels('rpn_cls_score_weight') // 2 or ORIGINAL.anchors,
        bins=bins,
    )


def network_of_state(state: Mapping[str, HasShape]) -> Network:
    """The network that a detector's state dict (``backbone.*``, ``rpn_head.*``, ...) is of.

    The way back of :func:`network_of`; sizes that are not there, or are of no network of the family, are the
    original's own.
    """

    def channels(key: str) -> int:
        return state[key].shape[0] if key in state else 0

    boxes = channels('roi_head.bbox_head.conv_reg.weight') // 4
    groups = 1 if boxes and math.isqrt(boxes) ** 2 == boxes else 2
    bins = math.isqrt(boxes // groups) or ORIGINAL.bins
    return Network(
        units=_units_of_state(state),
        classes=channels('roi_head.bbox_head.conv_cls.weight') // bins**2 or ORIGINAL.classes,
        anchors=channels('rpn_head.rpn_cls.weight') // 2 or ORIGINAL.anchors,
        bins=bins,
        box_groups=groups,
    )


def units_of(names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Names of the residual units of stages 2 to 5, found in names of parameters."""
    found: list[set[str]] = [set(), set(), set(), set()]
    for name in names:
        if match := _UNIT.match(name):
            found[int(match[1]) - 2].add(match[2])
    # A unit that is missing altogether, or is of no such network, is named when names are compared.
    exact = [units for units in _RESNETS if [set(stage) for stage in units] == found]
    larger = [
        units
        for units in _RESNETS
        if all(have <= set(stage) for have, stage in zip(found, units, strict=True))
    ]
    return [*exact, *larger, ORIGINAL.units][0] if any(found) else ORIGINAL.units


def _units_of_state(state: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    found = [set(), set(), set(), set()]
    for key in state:
        if match := re.match(r'backbone\.layer([1-4])\.(\d+)\.', key):
            found[int(match[1]) - 1].add(match[2])
    counts = [len(stage) for stage in found]
    matching = [units for units in _RESNETS if [len(stage) for stage in units] == counts]
    return matching[0] if matching else ORIGINAL.units
