"""Reader of MXNet's files of named arrays (``.params``), without MXNet.

A file is a list of arrays followed by a list of their names, all numbers little-endian::

    uint64 0x112, uint64 0, uint64 count, count records, uint64 count, count times (uint64 length, bytes)

Records have one of three layouts: ``legacy`` (number of dimensions and 32-bit dimensions), ``v1`` (a magic number and
64-bit dimensions) and ``v2`` (another magic number and the storage type before them). The device of the array, which is
ignored, its type and its values follow.

Every size is checked against the size of the file before memory is allocated for it.
"""

import math
import struct
from pathlib import Path

import numpy as np

from semidff.utils.checkpoint import CheckpointError

_LIST_MAGIC = 0x112
# V3 differs from V2 in what a shape without dimensions means, which no parameter has.
_V1_MAGIC, _V2_MAGIC, _V3_MAGIC = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_TYPES = {0: '<f4', 1: '<f8', 2: '<f2', 3: '|u1', 4: '<i4', 5: '|i1', 6: '<i8'}
_STORAGE = {1: 'row-sparse', 2: 'compressed sparse row'}
_MAX_DIMS = 32
_FOREIGN = {
    b'PK\x03\x04': 'a zip archive, such as a checkpoint of PyTorch or an array file of numpy',
    b'\x80\x02': 'a pickle, such as an old checkpoint of PyTorch',
    b'\x93NUM': 'an array file of numpy',
    b'\x89HDF': 'an HDF5 file',
    b'\x1f\x8b': 'compressed with gzip; unpack it first',
    b'{': 'a text, perhaps the network description (.json) beside the parameters',
}


class MXNetFileError(CheckpointError):
    """A file that is not MXNet's list of named arrays, or is damaged."""


class _Reader:
    """Reader of a file's bytes that checks every length against the end of the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = 0
        try:
            size = path.stat().st_size
            self.data = np.memmap(path, np.uint8, 'r') if size else np.empty(0, np.uint8)
        except OSError as error:
            raise MXNetFileError(f'{path}: cannot be read ({error.strerror})') from None

    @property
    def left(self) -> int:
        return len(self.data) - self.position

    def fail(self, problem: str) -> MXNetFileError:
        return MXNetFileError(f'{self.path}: {problem}')

    def skip(self, length: int, what: str) -> int:
        """Advance by ``length`` bytes and return the position before."""
        if length > self.left:
            raise self.fail(
                f'{what} needs {length} bytes at byte {self.position}, where {self.left} are left; '
                'the file is truncated or damaged, copy it again'
            )
        start, self.position = self.position, self.position + length
        return start

    def numbers(self, kinds: str, what: str) -> tuple[int, ...]:
        start = self.skip(struct.calcsize(f'<{kinds}'), what)
        return struct.unpack_from(f'<{kinds}', self.data, start)

    def count(self, what: str, smallest: int) -> int:
        """Read the number of items of at least ``smallest`` bytes each; refuse more than fit into the file."""
        (number,) = self.numbers('Q', f'the number of {what}')
        if number * smallest > self.left:
            raise self.fail(
                f'{number} {what} do not fit into the {self.left} bytes that are left; the file is '
                'truncated or damaged, copy it again'
            )
        return number

    def text(self, what: str) -> str:
        (length,) = self.numbers('Q', what)
        start = self.skip(length, what)
        try:
            return self.data[start : self.position].tobytes().decode()
        except UnicodeDecodeError:
            raise self.fail(f'{what} is no text; the file is damaged') from None


def read_params(path: str | Path) -> dict[str, np.ndarray]:
    """Read a file of named arrays.

    Returns:
        Arrays by their full names (``arg:conv1_weight``), in the file's order and types. They are read-only views of
        the memory-mapped file.

    Raises:
        MXNetFileError: If the file is of another kind, truncated or damaged, or holds sparse, empty or unnamed arrays,
            or two of one name. The message names the file.
    """
    reader = _Reader(Path(path))
    start = reader.data[:8].tobytes()
    if not start:
        raise reader.fail('is empty')
    if start != struct.pack('<Q', _LIST_MAGIC):
        kinds = [kind for begin, kind in _FOREIGN.items() if start.startswith(begin)]
        seems = f'; it seems to be {kinds[0]}' if kinds else ''
        raise reader.fail(
            f'is not a parameter file of MXNet: it starts with {start!r} instead of 0x112{seems}'
        )
    reader.skip(16, 'the header')
    number = reader.count('arrays', smallest=4)
    if not number:
        raise reader.fail('holds no arrays')
    arrays = [_read_record(reader, f'array {i + 1} of {number}') for i in range(number)]
    names = [reader.text(f'name {i + 1}') for i in range(reader.count('names', smallest=8))]
    if len(names) != number:
        raise reader.fail(f'has {len(names)} names for {number} arrays')
    if reader.left:
        raise reader.fail(f'goes on for {reader.left} bytes after its end; it is damaged')
    if len(set(names)) != number:
        twice = sorted({name for name in names if names.count(name) > 1})
        raise reader.fail(f'has several arrays of one name: {", ".join(twice[:4])}')
    return dict(zip(names, arrays, strict=True))


def _read_record(reader: _Reader, what: str) -> np.ndarray:
    (magic,) = reader.numbers('I', what)
    kind, dims = 'q', magic
    if magic in (_V2_MAGIC, _V3_MAGIC):
        storage, dims = reader.numbers('iI', what)
        if storage:
            name = _STORAGE.get(storage, f'unknown ({storage})')
            raise reader.fail(f'{what} has storage {name}; parameters have to be dense')
    elif magic == _V1_MAGIC:
        (dims,) = reader.numbers('I', what)
    else:
        kind = 'I'
    if dims > _MAX_DIMS:
        raise reader.fail(
            f'{what} has {dims} dimensions, {_MAX_DIMS} are the most; the file is damaged'
        )
    shape = reader.numbers(f'{dims}{kind}', what)
    if not shape or min(shape) < 1:
        raise reader.fail(f'{what} is empty: its shape is {shape}')
    _, _, flag = reader.numbers('iii', what)
    if flag not in _TYPES:
        raise reader.fail(f'{what} is of type {flag}, which is none of MXNet 1.x ({_TYPES})')
    dtype = np.dtype(_TYPES[flag])
    length = math.prod(shape)
    start = reader.skip(length * dtype.itemsize, f'{what}, of shape {shape},')
    return np.frombuffer(reader.data, dtype, length, start).reshape(shape)
