"""tools/convert_checkpoint.py: files in, files out, and a message and no file on bad input."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from semidff.checkpoints.read import read_checkpoint, stored_classes
from tests.original_params import write_params
from tests.test_converters.mxnet_params import full, heads, with_copies
from tests.tiny.models import rfcn


@pytest.fixture
def source(tmp_path):
    """The heads' parameters as the original's training writes them."""
    path = tmp_path / 'rfcn-0002.params'
    write_params(path, full(with_copies(heads())), 'legacy')
    return path


@pytest.fixture
def convert(run):
    return partial(run, 'convert_checkpoint.py')


@pytest.fixture
def refused(fails, tmp_path):
    """Converts bad input; the message that the tool ends with."""

    def refused(source, *arguments) -> str:
        message = fails('convert_checkpoint.py', 'mxnet', source, tmp_path / 'out.pth', *arguments)
        assert not (tmp_path / 'out.pth').exists(), 'a file was left'
        return message

    return refused


def config(tmp_path, **changes) -> Path:
    """A config whose heads are the original's, on a tiny ResNet."""
    head = dict(in_channels=512, num_classes=30, bins=7, box_groups=2) | changes
    model = rfcn(**head)
    model['neck']['out_channels'] = 1024
    anchors = dict(model['rpn_head']['anchor_generator'], scales=[8, 16, 32], ratios=[0.5, 1, 2])
    model['rpn_head'].update(in_channels=512, anchor_generator=anchors)
    path = tmp_path / 'config.py'
    custom = dict(custom_imports=dict(imports=['semidff.registry']), default_scope='mmdet')
    Config(dict(model=model, **custom)).dump(path)
    return path


def test_a_file_without_config(convert, source, tmp_path):
    out = tmp_path / 'a.pth'
    printed = convert('mxnet', source, out)
    assert f'{source}: task_network, 30 classes' in printed
    assert 'they agree' in printed
    checkpoint = torch.load(out, weights_only=True)
    assert checkpoint['meta']['mxnet']['source'] == 'rfcn-0002.params'
    assert checkpoint['meta']['dataset_meta']['classes'][0] == 'airplane'
    bias = checkpoint['state_dict']['roi_head.bbox_head.conv_reg.bias']
    assert np.array_equal(bias, heads()['rfcn_bbox_bias'])


def test_a_config_that_fits(convert, source, tmp_path):
    cfg = config(tmp_path, bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[1, 1, 2, 2]))
    printed = convert('mxnet', source, tmp_path / 'a.pth', '--config', cfg)
    assert 'the plain ones are of another training' in printed  # with other deviations
    assert "note: backbone.style is 'pytorch'; these weights want 'caffe'" in printed
    assert "data_preprocessor has {'mean': None" in printed
    bias = read_checkpoint(tmp_path / 'a.pth')[0]['roi_head.bbox_head.conv_reg.bias']
    np.testing.assert_allclose(bias, heads()['rfcn_bbox_bias'] / 10, rtol=1e-5)


def test_a_config_that_does_not_fit(refused, source, tmp_path):
    message = refused(source, '--config', config(tmp_path, num_classes=4))
    assert f'{source}: does not fit the model of the config (RFCN)' in message
    assert 'roi_head.bbox_head.conv_cls.weight (1519, 512, 1, 1) instead of (245' in message


def test_joined_checkpoints_keep_the_classes_of_the_detector(convert, tmp_path):
    def save(name, classes, **weights):
        meta = dict(dataset_meta=dict(CLASSES=classes)) if classes else {}
        torch.save(dict(meta=meta, state_dict=weights), tmp_path / name)

    save('a.pth', ('cat', 'dog'), **{'conv.weight': torch.ones(2)})
    save('b.pth', ('horse',), **{'temporal.scale': torch.zeros(3), 'other': torch.ones(1)})
    parts = (f'spatial.detector={tmp_path}/a.pth', f'temporal={tmp_path}/b.pth:temporal')
    out = tmp_path / 'new' / 'c.pth'
    printed = convert('join', '--part', parts[0], '--part', parts[1], '--out', out)
    assert f'{out}: 2 tensors from 2 checkpoints' in printed
    state, meta = read_checkpoint(out)
    assert sorted(state) == ['spatial.detector.conv.weight', 'temporal.scale']
    assert torch.equal(state['temporal.scale'], torch.zeros(3))
    assert stored_classes(meta) == ('cat', 'dog')

    for wrong, message in (
        (f'temporal={tmp_path}/a.pth:temporal', "a.pth: no weights under 'temporal'"),
        ('temporal=', 'error: '),
        (f'spatial.other={tmp_path}/b.pth', r"different classes .*a.pth: \['cat', 'dog'\], "),
    ):
        with pytest.raises(SystemExit, match=message):
            convert('join', '--part', parts[0], '--part', wrong, '--out', tmp_path / 'd.pth')
        assert not (tmp_path / 'd.pth').exists()
    for wrong in ('temporal', '=a.pth'):
        with pytest.raises(SystemExit, match='2'):
            convert('join', '--part', wrong, '--out', tmp_path / 'd.pth')
