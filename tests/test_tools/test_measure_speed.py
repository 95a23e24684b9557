"""tools/analysis/measure_speed.py."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from tests.test_utils.test_safe_loading import Touch
from tests.tiny_video import build, test_settings, video_detector_cfg, write_videos

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'analysis' / 'measure_speed.py'


@pytest.fixture
def tool(monkeypatch, tmp_path):
    """Runs the command on a tiny config."""
    settings = test_settings(write_videos(tmp_path, (4,)), tmp_path / 'work')
    Config(settings).dump(tmp_path / 'config.py')
    torch.save(dict(state_dict=build(video_detector_cfg()).state_dict()), tmp_path / 'two.pth')
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> None:
        argv = [TOOL, *arguments, '--out', 'out.json', '--device', 'cpu', '--rounds', 1]
        monkeypatch.setattr(sys, 'argv', [str(one) for one in argv])
        runpy.run_path(str(TOOL), run_name='__main__')

    return run


def test_writes_json_and_a_summary(tool, capsys):
    rows = ('dense=config.py,two.pth,frame,1', 'ours=config.py,two.pth,propagate,2')
    tool('--row', rows[0], '--row', rows[1], '--cfg-options', 'model.detector.test_cfg.score_thr=0')
    report = json.loads(Path('out.json').read_text())
    assert report['reference'] == 'dense' and list(report['rows']) == ['dense', 'ours']
    printed = capsys.readouterr().out
    assert 'dense' in printed and f'{report["rows"]["ours"]["speed_up"]:.2f}' in printed


def test_checkpoints_that_can_run_code_need_trust(tool, tmp_path):
    content = torch.load('two.pth') | dict(other=Touch(str(tmp_path / 'touched')))
    torch.save(content, 'old.pth')
    row = ('--row', 'ours=config.py,old.pth,copy,2')
    with pytest.raises(SystemExit, match='refused.*--trust'):
        tool(*row)
    with pytest.warns(UserWarning, match='loaded with --trust'):
        tool(*row, '--trust')
    assert Path('out.json').exists()


def test_rows_with_a_schedule_have_no_speed(tool, capsys):
    schedule = ('test_cfg.schedule.type=FixedSchedule', 'test_cfg.schedule.interval=2')
    tool('--row', 'ours=config.py,two.pth,copy,2', '--cfg-options', *schedule)
    assert json.loads(Path('out.json').read_text())['rows']['ours']['fps'] is None
    assert 'ours: test_cfg.schedule: the speed is not measured' in capsys.readouterr().out
