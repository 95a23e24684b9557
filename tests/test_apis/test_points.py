"""Operating points from the command line."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from semidff.inference.point import Point
from tests.tiny.videos import build, test_settings, video_detector_cfg, write_videos

ROOT = Path(__file__).resolve().parents[2]
LENGTHS = (12, 9, 10)


def call(tool: str, *argv: str | Path) -> None:
    """Runs a tool in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [f'tools/{tool}', *map(str, argv)])
        runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')


def test_operating_points_have_the_accuracy_of_the_test(tmp_path, capsys):
    """Intervals that are longer than all clips are left out."""
    args, out = (tmp_path / 'config.py', tmp_path / 'two.pth'), tmp_path / 'points'
    Config(test_settings(write_videos(tmp_path, LENGTHS), tmp_path / 'work')).dump(args[0])
    torch.save(dict(state_dict=build(video_detector_cfg(), seed=3).state_dict()), args[1])
    call(
        'analysis/operating_points.py', *args, '--key-intervals', 4, 12, 100, '--scales', 1,
        '--methods', 'propagate', '--rounds', 1, '--phases', 1, '--out', out,
        '--detector', args[1],
    )  # fmt: skip
    assert 'report.md, report.png, points.json' in capsys.readouterr().out
    table = json.loads((out / 'points.json').read_text())
    rows = {Point(row['method'], row['key_interval']): row for row in table['points']}
    assert rows.keys() == {Point('frame'), Point('propagate', 4), Point('propagate', 12)}
    call('test.py', *args, '--key-interval', 4, '--metrics-out', tmp_path / 'm.json')
    expected = json.loads((tmp_path / 'm.json').read_text())
    found, longer = rows[Point('propagate', 4)], rows[Point('propagate', 12)]
    assert found['metrics']['mAP'] == pytest.approx(expected['vid/mAP'], abs=1e-6)
    assert found['interval'] == pytest.approx(expected['schedule/interval'])
    assert longer['interval'] == pytest.approx(sum(LENGTHS) / 3)
    assert (out / 'report.png').stat().st_size > 5000 and (out / 'report.md').stat().st_size
