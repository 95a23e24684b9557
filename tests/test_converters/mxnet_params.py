"""Small parameters with the original's names."""

import numpy as np

from semidff.converters.mxnet.names import ORIGINAL, Network, targets

HEADS = ('task_network',)
STDS = np.repeat(np.float32([0.1, 0.1, 0.2, 0.2] * 2), 49)


def full(params: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """With ``arg:`` and ``aux:``."""
    return {
        ('aux:' if 'moving' in name else 'arg:') + name: array for name, array in params.items()
    }


def heads(network: Network = ORIGINAL) -> dict[str, np.ndarray]:
    """Random parameters of the heads, without test copies."""
    random = np.random.default_rng(0)
    return {
        name: random.standard_normal(target.shape, np.float32)
        for name, target in targets(HEADS, network).items()
    }


def with_copies(params: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """As the original's training writes them."""
    return params | {
        'rfcn_bbox_weight_test': params['rfcn_bbox_weight'] * STDS[:, None, None, None],
        'rfcn_bbox_bias_test': params['rfcn_bbox_bias'] * STDS,
    }


def zeros(parts: tuple[str, ...], network: Network = ORIGINAL) -> dict[str, np.ndarray]:
    """Parameters of parts that take no memory."""
    return {
        name: np.broadcast_to(np.float32(0), target.shape)
        for name, target in targets(parts, network).items()
    }
