"""tools/analysis/speed.py."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from tests.damaged_video import write_video
from tests.test_utils.test_safe_loading import Touch
from tests.tiny_video import build, test_settings, video_detector_cfg, write_videos

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'analysis' / 'speed.py'


@pytest.fixture
def tool(monkeypatch, tmp_path):
    """Runs the command on a tiny config with weights and videos."""
    settings = test_settings(write_videos(tmp_path, (4,)), tmp_path / 'work')
    Config(settings).dump(tmp_path / 'config.py')
    torch.save(dict(state_dict=build(video_detector_cfg()).state_dict()), tmp_path / 'two.pth')
    write_video(tmp_path / 'in.mp4', 4, size=(96, 64))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> dict:
        argv = [TOOL, *arguments, '--out', 'out.json', '--device', 'cpu', '--rounds', 1]
        monkeypatch.setattr(sys, 'argv', [str(one) for one in argv])
        runpy.run_path(str(TOOL), run_name='__main__')
        return json.loads(Path('out.json').read_text())

    return run


def test_methods_and_options_of_a_video_detector(tool, capsys):
    arguments = ('--methods', 'copy', 'propagate', '--precision', 'fp32', 'bf16', '--channels-last')
    figures = tool(
        'config.py', 'two.pth', '--video', 'in.mp4', '--key-interval', 2, '--markdown', 'out.md', *arguments
    )  # fmt: skip
    printed = capsys.readouterr().out
    assert 'r (DFF Eq. 5)' in printed and 'bf16, channels-last: propagate' in printed
    assert (figures['weights'], figures['video'], figures['rounds']) == ('two.pth', 'in.mp4', 1)
    assert list(figures['parts']) == ['fp32, channels-last', 'bf16, channels-last']
    assert len(figures['rows']) == 6
    assert Path('out.md').read_text().startswith('| part times, ms |')


def test_makes_a_video_of_the_wanted_shape(tool):
    figures = tool('config.py', '--shape', 64, 128, '--key-interval', 2)
    assert figures['shape'] == [64, 128] and figures['weights'] == 'random'
    assert figures['rows']['fp32: frame']['detections'] > 0


def test_rows(tool, capsys):
    rows = ('dense=config.py,two.pth,frame,1', 'ours=config.py,two.pth,propagate,2')
    options = ('--cfg-options', 'model.detector.test_cfg.score_thr=0')
    report = tool('--row', rows[0], '--row', rows[1], *options)
    assert report['reference'] == 'dense' and list(report['rows']) == ['dense', 'ours']
    assert f'{report["rows"]["ours"]["speed_up"]:.2f}' in capsys.readouterr().out
    schedule = ('test_cfg.schedule.type=FixedSchedule', 'test_cfg.schedule.interval=2')
    report = tool(
        '--row', 'ours=config.py,two.pth,copy,2', '--overwrite', '--cfg-options', *schedule
    )
    assert report['rows']['ours']['fps'] is None
    assert 'ours: test_cfg.schedule: the speed is not measured' in capsys.readouterr().out


def test_checkpoints_that_can_run_code_need_trust(tool, tmp_path):
    content = torch.load('two.pth') | dict(other=Touch(str(tmp_path / 'touched')))
    torch.save(content, 'old.pth')
    row = ('--row', 'ours=config.py,old.pth,copy,2')
    with pytest.raises(SystemExit, match='refused.*--trust'):
        tool(*row)
    tool(*row, '--trust')


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (('config.py', 'gone.pth'), 'gone.pth: there is no such checkpoint'),
        (('config.py', '--cfg-options', 'model.temporal=None'), 'no temporal module'),
    ],
)
def test_bad_input_is_one_message(tool, arguments, words):
    with pytest.raises(SystemExit, match=words) as error:
        tool(*arguments)
    assert str(error.value).startswith('tools/analysis/speed.py: ')
