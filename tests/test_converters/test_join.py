"""Checkpoints made of parts of others."""

import pytest
import torch

from semidff.converters.join import Part, join_checkpoints
from semidff.utils.checkpoint import CheckpointError, stored_classes


def _save(path, **weights):
    torch.save(
        dict(state_dict={key.replace('__', '.'): value for key, value in weights.items()}), path
    )


def test_joins_parts_under_new_names(tmp_path):
    _save(tmp_path / 'a.pth', conv__weight=torch.ones(2))
    _save(tmp_path / 'b.pth', temporal__scale=torch.zeros(3), other=torch.ones(1))
    parts = [
        Part.parse(f'spatial.detector={tmp_path}/a.pth'),
        Part.parse(f'temporal={tmp_path}/b.pth:temporal'),
    ]
    join_checkpoints(parts, tmp_path / 'new' / 'c.pth')
    state = torch.load(tmp_path / 'new' / 'c.pth')['state_dict']
    assert sorted(state) == ['spatial.detector.conv.weight', 'temporal.scale']
    assert torch.equal(state['temporal.scale'], torch.zeros(3))
    assert [p.name for p in (tmp_path / 'new').iterdir()] == ['c.pth']


def test_names_the_file_without_the_part(tmp_path):
    _save(tmp_path / 'a.pth', weight=torch.ones(2))
    with pytest.raises(CheckpointError, match="a.pth: no weights under 'temporal'"):
        join_checkpoints([Part('temporal', f'{tmp_path}/a.pth', 'temporal')], tmp_path / 'c.pth')
    assert not (tmp_path / 'c.pth').exists()


def _save_named(path, *classes):
    meta = dict(dataset_meta=dict(CLASSES=classes))
    torch.save(dict(meta=meta, state_dict=dict(weight=torch.ones(2))), path)
    return str(path)


def test_class_names_are_kept(tmp_path):
    named, nameless = _save_named(tmp_path / 'a.pth', 'cat', 'dog'), tmp_path / 'b.pth'
    _save(nameless, weight=torch.zeros(1))
    others = _save_named(tmp_path / 'flow.pth', 'horse')
    parts = [
        Part('spatial.detector.backbone', str(nameless)),
        Part('spatial.detector.roi_head', named),
        Part('temporal', others),
    ]
    join_checkpoints(parts, tmp_path / 'c.pth')
    assert stored_classes(torch.load(tmp_path / 'c.pth')['meta']) == ('cat', 'dog')


def test_parts_of_different_classes_are_refused(tmp_path):
    files = [_save_named(tmp_path / f'{name}.pth', name) for name in ('cat', 'dog')]
    parts = [Part('spatial.detector.neck', files[0]), Part('spatial.detector.roi_head', files[1])]
    with pytest.raises(
        CheckpointError, match=r"(?s)different classes.*cat.pth: \['cat'\].*\['dog'\]"
    ):
        join_checkpoints(parts, tmp_path / 'c.pth')
    assert not (tmp_path / 'c.pth').exists()


@pytest.mark.parametrize('text', ['temporal', '=a.pth', 'temporal='])
def test_refuses_incomplete_parts(text):
    with pytest.raises(ValueError, match='NAME=FILE'):
        Part.parse(text)
