"""tools/analysis/check_detector.py."""

import runpy
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from tests.tiny_video import detector_cfg

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'analysis' / 'check_detector.py'


def run(monkeypatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, 'argv', [str(one) for one in (TOOL, *arguments, '--size', 64, 96)])
    runpy.run_path(str(TOOL), run_name='__main__')


def test_says_what_works_and_what_does_not(monkeypatch, tmp_path, capsys):
    Config(dict(model=detector_cfg())).dump(tmp_path / 'd.py')
    run(monkeypatch, tmp_path / 'd.py')
    printed = capsys.readouterr().out
    assert 'TowerSplit: ' in printed and 'boxes at l = 1, as the detector' in printed
    assert printed.count('semantic loss: all weights have gradients') == 3
    with pytest.raises(SystemExit, match='gone.py'):
        run(monkeypatch, tmp_path / 'gone.py')
