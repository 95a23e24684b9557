"""Sizes of a network of the original's family, derived from the names and shapes in a file."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np


def numbered(*counts: int) -> tuple[tuple[str, ...], ...]:
    """Return the unit names of the four stages as in ResNet-101: a, b1, b2, ...; a, b, c in stages 2 and 5."""
    first, *middle, last = counts
    units = (('a', *(f'b{i}' for i in range(1, count))) for count in middle)
    return (tuple('abcdefgh'[:first]), *units, tuple('abcdefgh'[:last]))


def lettered(*counts: int) -> tuple[tuple[str, ...], ...]:
    """Return the unit names of the four stages as in ResNet-50: a, b, c, d, ..."""
    return tuple(tuple('abcdefgh'[:count]) for count in counts)


class Network(NamedTuple):
    """Sizes of a network.

    Attributes:
        units: Names of the residual units of stages 2 to 5.
        classes: Number of classes including background.
        anchors: Anchors per position.
        bins: Bins per side of the position-sensitive maps.
        box_groups: Groups of box outputs of *our* head, 2 or 1; the original has 2.
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
# In order of size; the first one that has all units of a file is the file's.
_RESNETS = (
    lettered(3, 4, 6, 3),
    numbered(3, 4, 6, 3),
    numbered(3, 4, 23, 3),
    numbered(3, 8, 36, 3),
)
_UNIT = re.compile(r'(?:res|bn)([2-5])([a-z]\d*)_branch')


def network_of(params: Mapping[str, np.ndarray]) -> Network:
    """Return the sizes of the network that parameters belong to, which are given by the original's names.

    Returns:
        The network that has all residual units of the file; ResNet-101 if there is none. Sizes of heads that are
        missing or inconsistent are the original's.
    """

    def channels(name: str) -> int:
        shape = params[name].shape if name in params else ()
        return shape[0] if shape else 0

    bins = math.isqrt(channels('rfcn_bbox_weight') // 8)
    if not bins or 8 * bins**2 != channels('rfcn_bbox_weight'):
        bins = ORIGINAL.bins
    return Network(
        units=_units_of(params),
        classes=channels('rfcn_cls_weight') // bins**2 or ORIGINAL.classes,
        anchors=channels('rpn_cls_score_weight') // 2 or ORIGINAL.anchors,
        bins=bins,
    )


def _units_of(names: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    found = {match.groups() for name in names if (match := _UNIT.match(name))}
    for units in _RESNETS if found else ():
        if found <= {(str(stage), unit) for stage, own in enumerate(units, 2) for unit in own}:
            return units
    return ORIGINAL.units  # Missing and foreign units are reported when the names are compared.
