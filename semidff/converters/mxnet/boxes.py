"""Choice of the box weights in a file of the original.

The original trains its box maps ``rfcn_bbox_*`` on normalized targets and applies no standard deviations at test time.
Training therefore writes the maps twice: plain, and multiplied by the standard deviations as ``rfcn_bbox_*_test``.
Inference replaces the plain weights with the copies where they exist, and uses the plain weights otherwise. A file
therefore has one of three forms:

- ``copies``: the plain weights are those of training, the ``_test`` copies those of inference. Training writes this.
- ``inference``: there are no copies; the plain weights are those of inference.
- ``training``: the plain weights are those of training, with or without copies.

Our box coder multiplies by the standard deviations after the network, so our weights are those of training. From
``copies`` the plain weights are taken unchanged if, multiplied by the standard deviations, they equal the copies up to
rounding. Otherwise the copies are divided, because the original's inference uses them. From ``inference`` the plain
weights are divided.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from .names import NameMappingError

FORMS = ('copies', 'inference', 'training')
NAMES = ('rfcn_bbox_weight', 'rfcn_bbox_bias')
AGREEMENT = 1e-5
"""Largest rounding difference between a copy and plain weight times deviation, relative to the largest value."""


class Normalization(NamedTuple):
    """Means and standard deviations of the box coder's (dx, dy, dw, dh)."""

    means: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    stds: tuple[float, ...] = (0.1, 0.1, 0.2, 0.2)


ORIGINAL_NORMALIZATION = Normalization()


def training_boxes(
    params: Mapping[str, np.ndarray], form: str, normalization: Normalization
) -> tuple[dict[str, np.ndarray], bool]:
    """Return the box weights of training.

    Args:
        params: Parameters of a file, with ``rfcn_bbox_*`` in eight outputs per bin.

    Returns:
        The two arrays (float32) by their plain names, and whether plain weights and copies agree (True for the other
        forms).

    Raises:
        NameMappingError: If a copy is missing, or its shape differs from that of the plain weight.
    """
    plain = {name: np.asarray(params[name], np.float32) for name in NAMES}
    if form == 'training':
        return plain, True
    weight, bias = NAMES
    # The outputs are two groups of the four values, each value for all bins.
    means, stds = (
        np.repeat(np.tile(np.float32(v), 2), len(plain[bias]) // 8) for v in normalization
    )
    scale = stds[:, None, None, None]
    inference = plain
    if form == 'copies':
        inference = {name: _copy(params, name) for name in NAMES}
        multiplied = {weight: plain[weight] * scale, bias: plain[bias] * stds + means}
        largest = {name: AGREEMENT * np.abs(inference[name]).max() for name in NAMES}
        if all(np.abs(multiplied[n] - inference[n]).max() <= largest[n] for n in NAMES):
            return plain, True
    divided = {weight: inference[weight] / scale, bias: (inference[bias] - means) / stds}
    return divided, form == 'inference'


def _copy(params: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    copy = f'{name}_test'
    if copy not in params:
        raise NameMappingError(f'1 missing: {copy}')
    if params[copy].shape != params[name].shape:
        raise NameMappingError(f'1 of another shape: {copy} {params[copy].shape} instead of '
                               f'{params[name].shape}')  # fmt: skip
    return np.asarray(params[copy], np.float32)
