"""Files that are complete or absent."""

import json
import os

import numpy as np
import pytest
import torch

from semidff.utils.atomic_write import atomic_path, atomic_write, read_json, write_json


def test_a_file_appears_when_it_is_complete(tmp_path):
    with atomic_path(tmp_path / 'new' / 'a.png') as unfinished:
        assert unfinished.suffix == '.png' and unfinished.parent == tmp_path / 'new'
        unfinished.write_text('whole')
        assert not (tmp_path / 'new' / 'a.png').exists()
    with atomic_write(tmp_path / 'new' / 'b.bin', binary=True) as file:
        file.write(b'\x00\xff')
    assert sorted(path.name for path in (tmp_path / 'new').iterdir()) == ['a.png', 'b.bin']


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_an_error_keeps_the_old_file(tmp_path, error):
    (tmp_path / 'a.txt').write_text('old')
    with pytest.raises(error), atomic_write(tmp_path / 'a.txt') as file:
        file.write('half')
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ['a.txt']
    assert (tmp_path / 'a.txt').read_text() == 'old'


def test_links_and_devices_stay_what_they_are(tmp_path):
    (tmp_path / 'link.txt').symlink_to(tmp_path / 'disk.txt')
    (tmp_path / 'null').symlink_to('/dev/null')
    for name in ('link.txt', 'null'):
        with atomic_write(tmp_path / name) as file:
            file.write('whole')
        assert (tmp_path / name).is_symlink()
    assert (tmp_path / 'disk.txt').read_text() == 'whole'


def test_a_killed_writer_disturbs_no_other(tmp_path):
    if not (killed := os.fork()):
        with atomic_write(tmp_path / 'a.txt') as file:
            file.write('half')
            file.flush()
            os._exit(1)
    os.waitpid(killed, 0)
    (left,) = tmp_path.iterdir()
    os.link(left, tmp_path / 'other.txt')  # as the hook for the last checkpoint
    with atomic_write(tmp_path / 'a.txt') as file:
        file.write('whole')
    assert (tmp_path / 'a.txt').read_text() == 'whole'
    assert left.name.startswith('.a.') and '.tmp' in left.name
    assert (tmp_path / 'other.txt').read_text() == left.read_text() == 'half'


def test_json_has_arrays_and_no_nan(tmp_path):
    write_json(dict(a=np.arange(2), b=[torch.ones(1)], c=np.int64(3)), tmp_path / 'a.json')
    assert json.loads((tmp_path / 'a.json').read_text()) == dict(a=[0, 1], b=[[1.0]], c=3)
    content = {'ap': np.array([0.5, np.nan]), 1: dict(x=float('inf')), 's': (np.float32('nan'),)}
    with pytest.raises(ValueError, match='not JSON compliant'):
        write_json(content, tmp_path / 'b.json')
    with pytest.raises(TypeError, match='object cannot be written as JSON'):
        write_json(dict(x=object()), tmp_path / 'b.json')
    assert not (tmp_path / 'b.json').exists()
    write_json(content, tmp_path / 'b.json', indent=2, nan_as_null=True)
    written = json.loads((tmp_path / 'b.json').read_text())
    assert written == {'ap': [0.5, None], '1': {'x': None}, 's': [None]}


@pytest.mark.parametrize('value', ['NaN', '[1, -Infinity]', '{"a": Infinity'])
def test_files_with_what_is_no_number_are_not_read(tmp_path, value):
    (tmp_path / 'a.json').write_text(value)
    with pytest.raises(ValueError, match=r'a\.json: '):
        read_json(tmp_path / 'a.json')
    write_json({'a': [1.5, None]}, tmp_path / 'a.json')
    assert read_json(tmp_path / 'a.json') == {'a': [1.5, None]}
