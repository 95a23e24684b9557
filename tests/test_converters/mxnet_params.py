"""Small parameters with the original's names, and a writer of its files."""

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from semidff.converters.mxnet.names import ORIGINAL, Network, targets

HEADS = ('task_network',)
LAYOUTS = ('v2', 'v1', 'legacy')
TYPES = ('f4', 'f8', 'f2', 'u1', 'i4', 'i1', 'i8')
STDS = np.repeat(np.float32([0.1, 0.1, 0.2, 0.2] * 2), 49)


def write_params(path: Path, arrays: Mapping[str, np.ndarray], layout: str = 'v2') -> None:
    """Write arrays by their full names as a ``.params`` file with records of one of ``LAYOUTS``."""
    content = struct.pack('<QQQ', 0x112, 0, len(arrays))
    for array in arrays.values():
        dims, shape = array.ndim, array.shape
        if layout == 'legacy':
            content += struct.pack(f'<I{dims}I', dims, *shape)
        else:
            content += (
                struct.pack('<I', 0xF993FAC8)
                if layout == 'v1'
                else struct.pack('<Ii', 0xF993FAC9, 0)
            )
            content += struct.pack(f'<I{dims}q', dims, *shape)
        cpu, device, flag = 1, 0, TYPES.index(array.dtype.newbyteorder('<').str[1:])
        content += struct.pack('<iii', cpu, device, flag)
        content += array.astype(array.dtype.newbyteorder('<')).tobytes()
    content += struct.pack('<Q', len(arrays))
    for name in arrays:
        content += struct.pack('<Q', len(name.encode())) + name.encode()
    path.write_bytes(content)


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
