"""tools/model_converters/torchvision_resnet.py: the backbone computes what torchvision's network computes."""

import runpy
from pathlib import Path

import pytest
import torch
import torchvision
from mmdet.models import ResNet
from mmengine.config import Config

from semidff.utils.checkpoint import load_strict, read_state_dict
from tests.models import rfcn

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'model_converters' / 'torchvision_resnet.py'


@pytest.fixture
def source(tmp_path):
    """A ResNet-18 of torchvision with statistics that are not the initial ones."""
    torch.manual_seed(0)
    network = torchvision.models.resnet18(weights=None)
    network(torch.randn(2, 3, 64, 64))
    torch.save(network.state_dict(), tmp_path / 'resnet18.pth')
    return tmp_path / 'resnet18.pth'


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the tool; what it prints, on either way out."""

    def run(*arguments) -> str:
        monkeypatch.setattr('sys.argv', ['torchvision_resnet.py', *map(str, arguments)])
        try:
            runpy.run_path(str(TOOL), run_name='__main__')
        except SystemExit as end:
            return str(end.code)
        return capsys.readouterr().out

    return run


def config(folder: Path, **backbone) -> Path:
    """A config of an R-FCN with this backbone."""
    model = rfcn()
    model['backbone'].update(dict(base_channels=64), **backbone)
    custom = dict(custom_imports=dict(imports=['semidff']), default_scope='mmdet')
    Config(dict(model=model, **custom)).dump(folder / 'config.py')
    return folder / 'config.py'


@torch.no_grad()
def test_the_backbone_computes_the_same(run, source, tmp_path):
    printed = run(source, tmp_path / 'out.pth')
    assert f'{source}: ResNet-18' in printed and 'passed over: 2 (fc.weight, fc.bias)' in printed
    backbone = ResNet(18)
    backbone.eval()
    load_strict(backbone, tmp_path / 'out.pth')
    theirs = torchvision.models.resnet18(weights=None).eval()
    theirs.load_state_dict(torch.load(source))
    x = torch.randn(1, 3, 64, 96)
    expected = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
    for stage, features in zip((1, 2, 3, 4), backbone(x), strict=True):
        expected = getattr(theirs, f'layer{stage}')(expected)
        torch.testing.assert_close(features, expected)


def test_stages_that_the_config_leaves_out(run, source, tmp_path):
    cfg = config(tmp_path, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,))
    printed = run(source, tmp_path / 'out.pth', '--config', cfg)
    assert 'note: data_preprocessor has' in printed and 'style' not in printed
    stages = {key.split('.')[0] for key in read_state_dict(tmp_path / 'out.pth')}
    assert stages == {'conv1', 'bn1', 'layer1', 'layer2', 'layer3'}


def test_what_does_not_fit(run, source, tmp_path):
    out = tmp_path / 'out.pth'
    message = run(source, out, '--config', config(tmp_path, depth=50))
    assert f'{source}: does not fit the model of the config (RFCN)' in message
    state = torch.load(source)
    torch.save(state | {'conv1.weight': torch.zeros(64, 3, 3, 3)}, source)
    assert 'conv1.weight (64, 3, 3, 3) instead of (64, 3, 7, 7)' in run(source, out)
    torch.save({k: v for k, v in state.items() if 'layer4.1' not in k}, source)
    assert 'its stages have (2, 2, 2, 1) residual units' in run(source, out)
    source.write_bytes(b'not found')
    assert 'cannot be read as a checkpoint' in run(source, out)
    assert 'there is no such checkpoint' in run(tmp_path / 'gone.pth', out)
    assert 'would overwrite the input' in run(source, source)
    assert not out.exists()
