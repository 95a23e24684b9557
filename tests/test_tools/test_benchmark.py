"""tools/analysis/benchmark.py."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from tests.damaged_video import write_video
from tests.tiny_video import build, test_settings, video_detector_cfg

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'analysis' / 'benchmark.py'


@pytest.fixture
def tool(monkeypatch, tmp_path):
    """Runs the command on a tiny config with weights and a video."""
    Config(test_settings(tmp_path / 'val.json', tmp_path / 'work')).dump(tmp_path / 'config.py')
    torch.save(dict(state_dict=build(video_detector_cfg()).state_dict()), tmp_path / 'two.pth')
    write_video(tmp_path / 'in.mp4', 4, size=(96, 64))

    def run(*arguments: object) -> None:
        monkeypatch.chdir(tmp_path)
        argv = [TOOL, 'config.py', *arguments, '--device', 'cpu', '--key-interval', 2]
        monkeypatch.setattr(sys, 'argv', [str(one) for one in (*argv, '--repeats', 1)])
        runpy.run_path(str(TOOL), run_name='__main__')

    return run


def test_writes_text_json_and_markdown(tool, tmp_path, capsys):
    files = ('--out', 'out.json', '--markdown', 'out.md')
    methods = ('--methods', 'copy', 'propagate', '--precision', 'fp32', 'bf16', '--channels-last')
    tool('two.pth', '--video', 'in.mp4', *methods, *files)
    printed = capsys.readouterr().out
    assert 'r (DFF Eq. 5)' in printed and 'bf16, channels-last: propagate' in printed
    figures = json.loads((tmp_path / 'out.json').read_text())
    assert (figures['weights'], figures['video'], figures['clips']) == ('two.pth', 'in.mp4', 1)
    assert [run['options'] for run in figures['runs']] == [
        'fp32, channels-last', 'bf16, channels-last',
    ]  # fmt: skip
    for run in figures['runs']:
        one = run['methods']['propagate']
        assert one['speedup_network'] / run['bound_network'] == pytest.approx(one['share_network'])
        assert list(run['methods']) == ['frame', 'copy', 'propagate']
    assert (tmp_path / 'out.md').read_text().startswith('| part times, ms |')


def test_makes_a_video_of_the_wanted_shape(tool, tmp_path, capsys):
    tool('--shape', 64, 128, '--out', 'out.json')
    figures = json.loads((tmp_path / 'out.json').read_text())
    assert figures['shape'] == [64, 128] and figures['weights'] == 'random'
    assert figures['runs'][0]['methods']['frame']['detections'] > 0


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (('gone.pth',), 'gone.pth: there is no such checkpoint'),
        (('--cfg-options', 'model.temporal=None'), 'no temporal module'),
    ],
)
def test_bad_input_is_one_message(tool, arguments, words):
    with pytest.raises(SystemExit, match=words) as error:
        tool(*arguments)
    assert str(error.value).startswith('tools/analysis/benchmark.py: ')
