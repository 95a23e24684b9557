"""Curves of accuracy over speed: which evaluations there are, and that they run once."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

from semidff.experiments import Run, build_curve
from semidff.experiments.settings import ROOT, ExperimentError
from semidff.inference.methods import METHODS
from tests.test_experiments.project import cells, make_project

MODEL = "pre = dict(type='A', mean=[1])\ndetector = dict(type='D', backbone=dict(depth=18))\n"
ONE = MODEL + 'model = dict(detector, data_preprocessor=pre)'
TWO = MODEL + "model = dict(type='V', detector=detector, temporal=1, data_preprocessor=pre)"


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    """Stage one, stage two with the same detector, and one whose detector has learned on."""
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path, one=ONE, two=TWO)
    save('one.pth', {'w': 1.0})
    save('reg.pth', {'spatial.detector.w': 1.0, 'temporal.w': 5.0})
    save('sem.pth', {'spatial.detector.w': 2.0, 'temporal.w': 5.0})


def save(path, weights):
    state = {name: torch.tensor([value]) for name, value in weights.items()}
    torch.save(dict(state_dict=state), path)


def curve(*runs, key_intervals=(5,), **options):
    return build_curve(
        [Run.parse(run) for run in runs], key_intervals, 'out', options,
        methods=list(METHODS.module_dict),
    )  # fmt: skip


def detectors(built):
    return {r.row: r.group for r in built.rows}


def rows(built):
    return [(r.row, r.method, r.key_interval) for r in built.rows]


def test_every_run_at_every_interval_and_frame_once():
    built = curve('reg=two.py,reg.pth', 'copy=one.py,one.pth,copy', key_intervals=(1, 5))
    assert rows(built) == [
        ('frame', 'frame', None),
        ('reg', 'propagate', 1), ('reg', 'propagate', 5), ('copy', 'copy', 1), ('copy', 'copy', 5),
    ]  # fmt: skip
    assert len(set(detectors(built).values())) == 1, 'the detector of stage one and of stage two'


def test_frame_of_every_different_detector():
    built = curve('reg=two.py,reg.pth', 'sem=two.py,sem.pth', 'copy=one.py,one.pth,copy')
    frames = [r for r in built.rows if r.method == 'frame']
    assert [r.row for r in frames] == ['frame', 'frame-sem']
    assert detectors(built)['frame-sem'] == detectors(built)['sem'] != detectors(built)['copy']
    assert 'sem.pth' in frames[1].step.command
    Path('other.py').write_text(Path('two.py').read_text().replace('18', '34'))
    assert len(set(detectors(curve('a=two.py,reg.pth', 'b=other.py,reg.pth')).values())) == 2


def test_weights_to_start_from_make_no_other_detector():
    text = Path('one.py').read_text()
    start = "depth=18, init_cfg=dict(type='Pretrained', checkpoint='a')"
    Path('start.py').write_text(text.replace('depth=18', start))
    assert text != Path('start.py').read_text()
    built = curve('reg=two.py,reg.pth', 'copy=start.py,one.pth,copy')
    assert len(set(detectors(built).values())) == 1


def test_detector_that_is_named():
    Path('named.py').write_text("model = dict(type='V', detector='ssd300_coco', temporal=1)")
    named = detectors(curve('a=named.py,reg.pth', 'b=two.py,reg.pth'))
    assert named['a'] == named['frame'] != named['b'] == named['frame-b']


def test_frame_is_not_added_to_one_that_was_asked_for():
    built = curve('image=one.py,one.pth,frame', 'reg=two.py,reg.pth')
    assert rows(built) == [('image', 'frame', None), ('reg', 'propagate', 5)]


def test_settings_and_variables_reach_the_evaluations(monkeypatch):
    monkeypatch.setenv('RUN_DIR', 'the-user-s-own')
    monkeypatch.delenv('EXPERIMENT_DIR', raising=False)
    step = curve('reg=two.py,reg.pth', **{'a.b': 'dev.json'}).rows[1].step
    assert step.command[-2:] == ('--cfg-options', 'a.b=dev.json')
    assert step.environment == {'RUN_DIR': 'the-user-s-own'}, 'not a folder of the curve'


@pytest.mark.parametrize(
    ('run', 'message'),
    [
        ('two.py,reg.pth', 'expected NAME=CONFIG,CHECKPOINT'),
        ('reg=two.py', 'expected NAME=CONFIG,CHECKPOINT'),
        ('reg=two.py,reg.pth,guess', "method = 'guess', expected one of"),
        ('a/b=two.py,reg.pth', "row name 'a/b'"),
        ('reg=experiment.py,reg.pth', 'experiment.py has no model'),
    ],
)
def test_bad_runs_are_refused(run, message):
    with pytest.raises(ExperimentError, match=message):
        curve(run)


def run():
    """Runs the tool; its message if there is an error."""
    argv = [
        '--run', 'reg=two.py,reg.pth', '--run', 'sem=two.py,sem.pth',
        '--key-intervals', '2', '4', '--out', 'out',
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['tools/analysis/accuracy_speed.py', *argv])
        try:
            runpy.run_path(str(ROOT / 'tools/analysis/accuracy_speed.py'), run_name='__main__')
        except SystemExit as end:
            return end.code


def started(printed):
    return {line.split(':')[0] for line in printed.splitlines() if ': started' in line}


def test_the_curve_is_drawn_and_finished_evaluations_are_kept(capsys):
    assert run() is None
    first = capsys.readouterr().out
    reg, sem = {'rows/reg/l2', 'rows/reg/l4'}, {'rows/sem/l2', 'rows/sem/l4'}
    speed = {'speed', 'speed-frame-sem'}
    assert started(first) == {'rows/frame', 'rows/frame-sem'} | reg | sem | speed
    block = cells(first[first.index('sem (propagate):') :])
    assert [line[0] for line in block[1:3]] == ['frame-sem', 'l = 2']
    # two.py: 0.8 at frame, 0.9 of it at propagate; fps 10 and 10 l
    assert block[2] == ['l = 2', '72.0', '72.0', '72.0', '20.00', '2.00×']
    assert '| l = 4 | 72.0 |' in Path('out/table.md').read_text()
    table = json.loads(Path('out/table.json').read_text())
    assert [(e['row'], e['key_interval']) for e in table if e['method'] == 'propagate'] == [
        ('reg', 2), ('reg', 4), ('sem', 2), ('sem', 4)
    ]  # fmt: skip
    assert Path('out/curve.png').read_bytes()[:4] == b'\x89PNG'

    assert run() is None
    assert started(capsys.readouterr().out) == set()
    save('sem.pth', {'spatial.detector.w': 3.0, 'temporal.w': 6.0})  # trained further
    Path('out/rows/reg/l4/metrics.json').unlink()
    assert run() is None
    assert started(capsys.readouterr().out) == sem | {
        'rows/frame-sem', 'rows/reg/l4', 'speed', 'speed-frame-sem'
    }  # fmt: skip


def test_a_missing_checkpoint_is_reported_before_anything_runs():
    Path('sem.pth').unlink()
    line = 'tools/analysis/accuracy_speed.py: error: sem.pth: there is no such checkpoint file'
    assert run().startswith(line)
    assert not Path('out').exists()
