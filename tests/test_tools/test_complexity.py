"""tools/analysis/complexity.py."""

import json
import runpy
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from tests import models
from tests.tiny_video import video_detector_cfg

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'analysis' / 'complexity.py'


@pytest.fixture
def tool(monkeypatch, tmp_path):
    """Runs the command on a model's config."""

    def run(model: dict, *arguments: object) -> None:
        Config(dict(model=model)).dump(tmp_path / 'config.py')
        argv = [TOOL, tmp_path / 'config.py', '--size', 64, 96, '--device', 'cpu', *arguments]
        monkeypatch.setattr(sys, 'argv', [str(argument) for argument in argv])
        runpy.run_path(str(TOOL), run_name='__main__')

    return run


def test_counts(tool, tmp_path, capsys):
    tool(video_detector_cfg(), '--key-intervals', 3, 4, '--json', tmp_path / 'o.json')
    printed = capsys.readouterr().out
    assert 'GFLOPs' in printed and 'multiply-adds' in printed
    figures = json.loads((tmp_path / 'o.json').read_text())
    assert (figures['height'], figures['width']) == (64, 96)
    assert figures['parts']['flow']['flops'] > 0
    ratio = figures['ratio']
    assert figures['speedups'] == pytest.approx(
        {str(length): length / (1 + (length - 1) * ratio) for length in (3, 4)}
    )


def test_flow_networks_are_compared(tool, tmp_path, capsys):
    options = ('--flow-networks', '--rounds', 1, '--json', tmp_path / 'o.json')
    tool(video_detector_cfg(), *options, '--key-intervals', 10)
    printed = capsys.readouterr().out
    assert "dict(type='FlowNetS', width=0.125)" in printed and 's at l = 10' in printed
    figures = json.loads((tmp_path / 'o.json').read_text())['flow_networks']
    assert {one['flow_network']['type'] for one in figures} == {'FlowNetS', 'FlowNetInception'}


def test_pretrained_weights_are_not_looked_for(tool, capsys):
    model = models.video_config('faster_rcnn')
    model['detector']['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint='gone.pth')
    tool(model)
    assert 's (DFF Eq. 7) at l = 20' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('model', 'message'),
    [
        (models.rfcn(), 'RFCN has no temporal module'),
        (video_detector_cfg(temporal=False), 'no temporal module'),
    ],
)
def test_refuses_with_a_message(tool, model, message):
    with pytest.raises(SystemExit, match=message):
        tool(model)
