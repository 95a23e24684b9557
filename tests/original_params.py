"""Parameters of the reference network, and an independent writer of MXNet's parameter files."""

import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

LIST_MAGIC = 0x112
V1_MAGIC = 0xF993FAC8  # record with int64 dimensions (2017)
V2_MAGIC = 0xF993FAC9  # record with a storage type (end of 2017 and later)
DTYPES = ('<f4', '<f8', '<f2', 'u1', '<i4', 'i1', '<i8')


def make_params(
    spec: dict, salt: str = '', only: Callable[[str], bool] | None = None
) -> dict[str, np.ndarray]:
    """Draw the parameters of a table of shapes and distributions (params_spec.json).

    A parameter depends on its entry, its name and the salt only.
    """
    return {
        name: _draw(name, entry, salt)
        for name, entry in spec['params'].items()
        if only is None or only(name)
    }


def _draw(name: str, entry: dict, salt: str) -> np.ndarray:
    random = np.random.RandomState(zlib.crc32((salt + name).encode()) & 0x7FFFFFFF)
    shape = tuple(entry['shape'])
    size = int(np.prod(shape))
    if entry['dist'] == 'normal':
        values = random.standard_normal(size) * entry['std'] + entry['mean']
    elif entry['dist'] == 'uniform':
        values = random.random_sample(size) * (entry['high'] - entry['low']) + entry['low']
    else:
        raise ValueError(f'{name}: unknown distribution {entry["dist"]!r}')
    return values.astype(np.float32).reshape(shape)


def write_params(path: Path, arrays: Mapping[str, np.ndarray], layout: str = 'v2') -> None:
    """Write arrays with their full names (``arg:conv1_weight``); layout ``legacy``, ``v1`` or
    ``v2``.
    """
    content = struct.pack('<QQQ', LIST_MAGIC, 0, len(arrays))
    for array in arrays.values():
        kind = next(dtype for dtype in DTYPES if np.dtype(dtype) == array.dtype)
        content += _shape(array, layout)
        content += struct.pack('<iii', 1, 0, DTYPES.index(kind))  # device type 1 (CPU), device 0
        content += array.astype(kind).tobytes()
    content += struct.pack('<Q', len(arrays))
    for name in arrays:
        content += struct.pack('<Q', len(name.encode())) + name.encode()
    Path(path).write_bytes(content)


def _shape(array: np.ndarray, layout: str) -> bytes:
    if layout == 'legacy':
        return struct.pack(f'<I{array.ndim}I', array.ndim, *array.shape)
    magic = {'v1': struct.pack('<I', V1_MAGIC), 'v2': struct.pack('<Ii', V2_MAGIC, 0)}[layout]
    return magic + struct.pack(f'<I{array.ndim}q', array.ndim, *array.shape)
