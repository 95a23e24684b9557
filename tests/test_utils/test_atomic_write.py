import json
import os

import numpy as np
import pytest
import torch

from semidff.utils.atomic_write import atomic_path, atomic_write, write_json


def test_a_new_file_in_a_new_folder(tmp_path):
    with atomic_path(tmp_path / 'new' / 'a.png') as unfinished:
        assert unfinished.suffix == '.png' and unfinished.parent == tmp_path / 'new'
        unfinished.write_text('whole')
        assert not (tmp_path / 'new' / 'a.png').exists()
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['a.png']


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_an_error_keeps_the_old_file(tmp_path, error):
    (tmp_path / 'a.txt').write_text('old')
    with pytest.raises(error), atomic_write(tmp_path / 'a.txt') as file:
        file.write('half')
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ['a.txt']
    assert (tmp_path / 'a.txt').read_text() == 'old'


def test_a_link_and_a_device_stay_what_they_are(tmp_path):
    (tmp_path / 'link.txt').symlink_to(tmp_path / 'disk.txt')
    (tmp_path / 'null').symlink_to('/dev/null')
    for name in ('link.txt', 'null'):
        with atomic_write(tmp_path / name) as file:
            file.write('whole')
        assert (tmp_path / name).is_symlink()
    assert (tmp_path / 'disk.txt').read_text() == 'whole'


def test_bytes(tmp_path):
    with atomic_write(tmp_path / 'a.bin', binary=True) as file:
        file.write(b'\x00\xff')
    assert (tmp_path / 'a.bin').read_bytes() == b'\x00\xff'


def test_json_of_arrays(tmp_path):
    write_json(dict(a=np.arange(2), b=[torch.ones(1)], c=np.int64(3)), tmp_path / 'a.json')
    assert json.loads((tmp_path / 'a.json').read_text()) == dict(a=[0, 1], b=[[1.0]], c=3)


def test_json_has_no_nan(tmp_path):
    content = {'ap': np.array([0.5, np.nan]), 1: dict(x=float('inf')), 's': (np.float32('nan'),)}
    with pytest.raises(ValueError, match='not JSON compliant'):
        write_json(dict(x=float('nan')), tmp_path / 'a.json')
    assert not list(tmp_path.iterdir())
    write_json(content, tmp_path / 'a.json', indent=2, nan_as_null=True)
    written = json.loads((tmp_path / 'a.json').read_text())
    assert written == {'ap': [0.5, None], '1': {'x': None}, 's': [None]}


def test_json_refuses_what_it_cannot_write(tmp_path):
    with pytest.raises(TypeError, match='object cannot be written as JSON'):
        write_json(dict(x=object()), tmp_path / 'a.json')
    assert not list(tmp_path.iterdir())


def test_what_killed_writers_left_is_removed(tmp_path):
    """A lock of another process or thread tells unfinished files that are still written."""
    path = tmp_path / 'a[1].txt'
    other = tmp_path / '.a.0123456789ab.tmp.txt'
    other.write_text('of another file')
    if not (killed := os.fork()):
        with atomic_write(path) as file:
            file.write('half')
            file.flush()
            os._exit(1)
    os.waitpid(killed, 0)
    assert len(list(tmp_path.iterdir())) == 2
    with atomic_write(path) as first:
        assert len(list(tmp_path.iterdir())) == 2, 'only its own and that of another file'
        first.write('first')
        with atomic_write(path) as second:
            second.write('second')
        assert path.read_text() == 'second'
    assert path.read_text() == 'first'
    assert sorted(tmp_path.iterdir()) == [other, path]
