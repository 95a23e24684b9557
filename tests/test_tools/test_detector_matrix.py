"""tools/analysis/detector_matrix.py."""

import json
import runpy
import sys
from pathlib import Path

import pytest

from semidff.analysis.matrix_table import cell

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'analysis' / 'detector_matrix.py'


def run(monkeypatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, 'argv', [str(argument) for argument in (TOOL, *arguments)])
    runpy.run_path(str(TOOL), run_name='__main__')


def test_continues_its_results(tmp_path, monkeypatch, capsys):
    out, table = tmp_path / 'out.json', tmp_path / 'table.md'
    options = ('--detectors', 'retinanet_r50_fpn_1x', '--splits', 'default', '--iterations', 1)
    options = (*options, '--size', 64, 96, '--small', 64, 96, '--out', out, '--checks', 'frame')
    refused = {'TowerSplit': {'split': cell('refused', 'refused', reason='no towers')}}
    out.write_text(json.dumps({'detectors': {'retinanet_r50_fpn_1x': refused}}))
    run(monkeypatch, *options)
    ((name, rows),) = json.loads(out.read_text())['detectors'].items()
    assert rows['default']['frame']['text'] == 'equal'
    run(monkeypatch, *options, 'bf16', 'counted', 'measured', '--markdown', table)
    rows_after = json.loads(out.read_text())['detectors'][name]
    after = rows_after['default']
    assert after['frame'] == rows['default']['frame'] and after['bf16']['deviation'] > 0
    assert 0 < after['counted']['ratio'] < 1 and after['measured']['flow_and_scale'] > 0
    assert rows_after['TowerSplit'] == refused['TowerSplit']  # rows of other splits are kept
    assert name in table.read_text() and table.read_text() in capsys.readouterr().out
    with pytest.raises(SystemExit, match='out.json: is of --flow-width 0.125'):
        run(monkeypatch, *options, '--flow-width', 0.25)
    with pytest.raises(
        SystemExit, match=r"out.json: retinanet_r50_fpn_1x is of {'size': \[64, 96\]"
    ):
        run(monkeypatch, *options, '--size', 96, 96)


def test_unknown_detectors_are_refused(monkeypatch, capsys):
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, '--detectors', 'no_such_detector')
    assert caught.value.code == 2 or 'no_such_detector' in str(caught.value.code)
    assert 'no_such_detector' in capsys.readouterr().err + str(caught.value.code)


def test_an_edited_config_is_checked_again(tmp_path, monkeypatch):
    file, out = tmp_path / 'mine.py', tmp_path / 'out.json'
    options = ('--detectors', file, '--splits', 'default', '--iterations', 1, '--small', 64, 96)
    base = "_base_ = ['mmdet::retinanet/retinanet_r50_fpn_1x_coco.py']\n"
    file.write_text(base + "model = dict(bbox_head=dict(type='RetinaHeadd'))\n")
    with pytest.raises(SystemExit):
        run(monkeypatch, *options, '--checks', 'frame', '--out', out)
    assert 'RetinaHeadd' in out.read_text()
    file.write_text(base)
    run(monkeypatch, *options, '--checks', 'frame', '--out', out)
    ((_, rows),) = json.loads(out.read_text())['detectors'].items()
    assert list(rows) == ['default'] and rows['default']['frame']['text'] == 'equal'
