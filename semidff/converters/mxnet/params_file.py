"""Reader of MXNet's files of named arrays (``.params``), without MXNet.

A file is a list of arrays followed by a list of their names, all numbers little-endian::

    uint64 0x112, uint64 0, uint64 count, count records, uint64 count, count times (uint64 length,
    bytes)

Records have one of three layouts: ``legacy`` (number of dimensions and 32-bit dimensions), ``v1``
(a magic number and 64-bit dimensions) and ``v2`` (another magic number and the storage type before
them). The device of the array, which is ignored, its type and its values follow.
"""

import math
import struct
from pathlib import Path

import numpy as np

from semidff.checkpoints.safe import CheckpointError

_LIST_MAGIC = 0x112
# V3 differs from V2 in what a shape without dimensions means, which no parameter has.
_V1_MAGIC, _V2_MAGIC, _V3_MAGIC = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_TYPES = {0: '<f4', 1: '<f8', 2: '<f2', 3: '|u1', 4: '<i4', 5: '|i1', 6: '<i8'}


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = 0
        self.data = np.memmap(path, np.uint8, 'r') if path.stat().st_size else np.empty(0, np.uint8)

    def take(self, length: int) -> np.ndarray:
        start, self.position = self.position, self.position + length
        if self.position > len(self.data):
            raise CheckpointError(f'{self.path}: is truncated or damaged; copy it again')
        return self.data[start : self.position]

    def numbers(self, kinds: str) -> tuple[int, ...]:
        return struct.unpack(f'<{kinds}', self.take(struct.calcsize(f'<{kinds}')))


def read_params(path: str | Path) -> dict[str, np.ndarray]:
    """Read arrays by full name (``arg:conv1_weight``), as read-only views of the file."""
    reader = _Reader(Path(path))
    start = reader.data[:8].tobytes()
    if start != struct.pack('<Q', _LIST_MAGIC):
        raise CheckpointError(
            f'{path}: is not a parameter file of MXNet: it starts with {start!r} instead of 0x112'
        )
    _, _, number = reader.numbers('QQQ')
    arrays = [_read_record(reader, f'{path}: array {i + 1} of {number}') for i in range(number)]
    (named,) = reader.numbers('Q')
    names = [
        reader.take(*reader.numbers('Q')).tobytes().decode(errors='replace') for _ in range(named)
    ]
    found = dict(zip(names, arrays, strict=False))
    if not len(found) == named == number or reader.position != len(reader.data):
        raise CheckpointError(f'{path}: is damaged: {len({*names})} names for {number} arrays')
    return found


def _read_record(reader: _Reader, what: str) -> np.ndarray:
    (magic,) = reader.numbers('I')
    kind, dims = 'q', magic
    if magic in (_V2_MAGIC, _V3_MAGIC):
        storage, dims = reader.numbers('iI')
        if storage:
            raise CheckpointError(f'{what} is sparse; parameters have to be dense')
    elif magic == _V1_MAGIC:
        (dims,) = reader.numbers('I')
    else:
        kind = 'I'
    shape = reader.numbers(f'{dims}{kind}')
    if not shape or min(shape) < 1:
        raise CheckpointError(f'{what} is empty: its shape is {shape}')
    _, _, flag = reader.numbers('iii')
    if flag not in _TYPES:
        raise CheckpointError(f'{what} is of type {flag}, which is none of MXNet 1.x ({_TYPES})')
    dtype = np.dtype(_TYPES[flag])
    return reader.take(math.prod(shape) * dtype.itemsize).view(dtype).reshape(shape)
