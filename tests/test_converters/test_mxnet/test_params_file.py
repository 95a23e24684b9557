"""MXNet's files of named arrays: of an independent writer, and broken ones."""

import struct

import numpy as np
import pytest

from semidff.checkpoints.safe import CheckpointError
from semidff.converters.mxnet.params_file import read_params
from tests.original_params import write_params

LAYOUTS = ('v2', 'v1', 'legacy')
V1, V2 = 0xF993FAC8, 0xF993FAC9
RECORD = struct.pack('<IiIqiii2f', V2, 0, 1, 2, 1, 0, 0, 1.5, -2.0)


def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        'arg:conv_weight': random.standard_normal((2, 3, 1, 1), np.float32),
        'aux:bn_moving_mean': random.standard_normal(3, np.float32),
    }


def content(*records: bytes, names: list[str], count: int | None = None) -> bytes:
    """A file's bytes."""
    head = struct.pack('<QQQ', 0x112, 0, len(records) if count is None else count)
    tail = struct.pack('<Q', len(names))
    for name in names:
        tail += struct.pack('<Q', len(name)) + name.encode()
    return head + b''.join(records) + tail


def same(read: dict, given: dict) -> None:
    assert list(read) == list(given)
    for name, array in given.items():
        assert read[name].dtype == array.dtype and np.array_equal(read[name], array), name


@pytest.mark.parametrize('layout', LAYOUTS)
def test_reads_all_layouts(tmp_path, layout):
    write_params(tmp_path / 'a', arrays(), layout)
    same(read_params(tmp_path / 'a'), arrays())


@pytest.mark.parametrize('layout', LAYOUTS)
def test_truncated_anywhere(tmp_path, layout):
    write_params(tmp_path / 'whole', arrays(), layout)
    whole = (tmp_path / 'whole').read_bytes()
    path = tmp_path / 'part.params'
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match='part.params: '):
            read_params(path)


BROKEN = {
    'empty': (b'', 'is not a parameter file of MXNet'),
    'more names': (content(RECORD, names=['arg:x', 'arg:y']), '2 names for 1 arrays'),
    'longer': (content(RECORD, names=['arg:x']) + b'\0', 'is damaged'),
    'no shape': (content(struct.pack('<IiI', V2, 0, 0) + bytes(9), names=['arg:x']), 'is empty'),
    'sparse': (
        content(struct.pack('<IiI', V2, 1, 1) + bytes(99), names=['arg:x']),
        'parameters have to be dense',
    ),
    'unknown type': (
        content(struct.pack('<IIqiii', V1, 1, 1, 1, 0, 12) + bytes(9), names=['arg:x']),
        'of type 12',
    ),
}


@pytest.mark.parametrize('kind', BROKEN)
def test_broken(tmp_path, kind):
    path = tmp_path / 'broken.params'
    path.write_bytes(BROKEN[kind][0])
    with pytest.raises(CheckpointError, match=f'broken.params: .*{BROKEN[kind][1]}'):
        read_params(path)
