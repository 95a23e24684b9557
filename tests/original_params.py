"""Parameters of the reference network, and an independent reader and writer of MXNet's parameter files."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

LIST_MAGIC = 0x112
V1_MAGIC = 0xF993FAC8  # record with int64 dimensions (2017)
V2_MAGIC = 0xF993FAC9  # record with a storage type (end of 2017 and later)
V3_MAGIC = 0xF993FACA  # as V2, with numpy's meaning of shapes
FLOAT32 = 0
DTYPES = {FLOAT32: '<f4', 1: '<f8', 2: '<f2', 3: 'u1', 4: '<i4', 5: 'i1', 6: '<i8'}


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


def write_mxnet_params(path: Path, named: list[tuple[str, np.ndarray]], layout: str = 'v2') -> None:
    """Write arrays with their full names (``arg:conv1_weight``); layout ``legacy``, ``v1`` or ``v2``."""
    content = struct.pack('<QQQ', LIST_MAGIC, 0, len(named))
    for _, array in named:
        content += _shape(array, layout)
        content += struct.pack('<iii', 1, 0, FLOAT32)  # device type 1 (CPU), device 0
        content += np.ascontiguousarray(array, dtype='<f4').tobytes()
    content += struct.pack('<Q', len(named))
    for name, _ in named:
        content += struct.pack('<Q', len(name.encode())) + name.encode()
    Path(path).write_bytes(content)


def _shape(array: np.ndarray, layout: str) -> bytes:
    if layout == 'legacy':
        return struct.pack(f'<I{array.ndim}I', array.ndim, *array.shape)
    magic = {'v1': struct.pack('<I', V1_MAGIC), 'v2': struct.pack('<Ii', V2_MAGIC, 0)}[layout]
    return magic + struct.pack(f'<I{array.ndim}q', array.ndim, *array.shape)


def read_mxnet_params(path: Path) -> dict[str, np.ndarray]:
    """Read the dense arrays of a file in any of the layouts, by full name."""
    content = Path(path).read_bytes()
    position = 0

    def take(layout: str) -> tuple:
        nonlocal position
        values = struct.unpack_from(f'<{layout}', content, position)
        position += struct.calcsize(f'<{layout}')
        return values

    magic, _, count = take('QQQ')
    assert magic == LIST_MAGIC, f'{path} is not a list of arrays'
    arrays = []
    for _ in range(count):
        (head,) = take('I')
        if head in (V2_MAGIC, V3_MAGIC):
            assert take('i') == (0,), 'sparse array'
        dimensions = take('I')[0] if head in (V1_MAGIC, V2_MAGIC, V3_MAGIC) else head
        shape = take(f'{dimensions}{"I" if dimensions is head else "q"}')
        _, _, flag = take('iii')
        dtype = np.dtype(DTYPES[flag])
        size = int(np.prod(shape))
        arrays.append(np.frombuffer(content, dtype, size, position).reshape(shape))
        position += size * dtype.itemsize
    names = []
    for _ in range(take('Q')[0]):
        (length,) = take('Q')
        names.append(content[position : position + length].decode())
        position += length
    return dict(zip(names, arrays, strict=True))
