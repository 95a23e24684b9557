"""Which of the box weights in a file of the original are the ones to take.

The original trains its box maps ``rfcn_bbox_*`` on normalized targets and applies no standard deviations at test time.
Training therefore writes the maps twice: plain, and multiplied by the deviations as ``rfcn_bbox_*_test``; inference
replaces the plain ones by these if they are there, and uses the plain ones as they are if not. So the plain weights
mean different things, and there are three forms of a file:

- ``copies``: the plain ones are the training's, the ``_test`` copies are the inference's. What training writes.
- ``inference``: no copies; the plain ones are the inference's.
- ``training``: the plain ones are the training's, whether there are copies or not.

Our box coder multiplies by the deviations after the network, so our weights are the training's. From ``copies`` the
plain ones are taken unchanged where they times the deviations are the copies up to rounding; where they are not, the
copies are right, because the original's inference uses them, and are divided. From ``inference`` the plain ones are
divided.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from .names import NameMappingError

FORMS = ('copies', 'inference', 'training')
NAMES = ('rfcn_bbox_weight', 'rfcn_bbox_bias')
AGREEMENT = 1e-5
"""Largest difference between a copy and plain times deviation, relative to the largest value, that is rounding."""


class Normalization(NamedTuple):
    """The box coder's means and standard deviations of (dx, dy, dw, dh)."""

    means: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    stds: tuple[float, ...] = (0.1, 0.1, 0.2, 0.2)


def form_of(params: Mapping[str, np.ndarray]) -> str:
    """``copies`` if there is a test copy, else ``inference``."""
    return 'copies' if any(f'{name}_test' in params for name in NAMES) else 'inference'


def training_boxes(
    params: Mapping[str, np.ndarray], form: str, normalization: Normalization
) -> tuple[dict[str, np.ndarray], bool]:
    """The box weights that are ours.

    Args:
        params: A file's parameters, with ``rfcn_bbox_*`` in eight outputs per bin.
        form: One of ``FORMS``.
        normalization: Of our box coder.

    Returns:
        The two arrays (float32) by their plain names, and whether the plain ones of a file with copies agree with
        these (True for the other forms).

    Raises:
        NameMappingError: If a copy is missing, or of another shape than the plain one.
    """
    plain = {name: np.asarray(params[name], np.float32) for name in NAMES}
    if form == 'training':
        return plain, True
    if form == 'inference':
        return {name: _divided(plain[name], name, normalization) for name in NAMES}, True
    copies = {name: _copy(params, name) for name in NAMES}
    computed = inference_boxes(plain, normalization)
    if all(_agree(computed[name], copies[name]) for name in NAMES):
        return plain, True
    return {name: _divided(copies[name], name, normalization) for name in NAMES}, False


def inference_boxes(
    training: Mapping[str, np.ndarray], normalization: Normalization
) -> dict[str, np.ndarray]:
    """What the original's training writes as test copies, by the plain names."""
    result = {}
    for name in NAMES:
        result[name] = training[name] * _per_channel(training[name], normalization.stds)
        if name.endswith('bias'):
            result[name] = result[name] + _per_channel(training[name], normalization.means)
    return result


def is_copy(kept: np.ndarray, computed: np.ndarray) -> bool:
    """Whether a kept copy differs from a computed one by the last bits alone."""
    return kept.shape == computed.shape and np.allclose(kept, computed, rtol=1e-6, atol=0)


def _copy(params: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    copy = f'{name}_test'
    if copy not in params:
        raise NameMappingError(f'1 missing: {copy}')
    if params[copy].shape != params[name].shape:
        raise NameMappingError(f'1 of another shape: {copy} {params[copy].shape} instead of '
                               f'{params[name].shape}')  # fmt: skip
    return np.asarray(params[copy], np.float32)


def _agree(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.abs(a - b).max() <= AGREEMENT * np.abs(b).max())


def _divided(array: np.ndarray, name: str, normalization: Normalization) -> np.ndarray:
    if name.endswith('bias'):
        array = array - _per_channel(array, normalization.means)
    return array / _per_channel(array, normalization.stds)


def _per_channel(array: np.ndarray, values: tuple[float, ...]) -> np.ndarray:
    """Four values for the output channels: two groups of four, each repeated over the bins."""
    repeated = np.repeat(np.tile(np.float32(values), 2), array.shape[0] // 8)
    return repeated.reshape((-1,) + (1,) * (array.ndim - 1))
