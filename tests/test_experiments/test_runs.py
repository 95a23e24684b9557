"""Runs of the command line: accuracy over speed, and at each distance from the key frame."""

import json
from pathlib import Path

import pytest
import torch

from semidff.experiments import ExperimentError, load_runs
from semidff.inference.methods import METHODS
from tests.tiny.experiment import cells, make_project, run_tool, started

RUNS = ('--run', 'reg=two.py,reg.pth', '--run', 'sem=two.py,sem.pth', '--work-dir', 'out')


@pytest.fixture(autouse=True)
def _checkpoints(_project, tmp_path):
    """Stage one, stage two with the same detector, and one whose detector has learned on."""
    make_project(tmp_path)
    save('one.pth', {'w': 1.0})
    save('reg.pth', {'spatial.detector.w': 1.0, 'temporal.w': 5.0})
    save('sem.pth', {'spatial.detector.w': 2.0, 'temporal.w': 5.0})


def save(path, weights):
    state = {name: torch.tensor([value]) for name, value in weights.items()}
    torch.save(dict(state_dict=state), path)


def curve(*runs, **options):
    return load_runs(runs, list(METHODS.module_dict), 'out', [5], options)


def groups(experiment):
    return {one.row.name: one.row.group for one in experiment.evaluations}


def test_each_detector_has_a_group_with_frame():
    found = curve('reg=two.py,reg.pth', 'sem=two.py,sem.pth', 'copy=one.py,one.pth,copy')
    rows = [(e.row.name, e.row.method, e.key_interval) for e in found.evaluations]
    assert rows == [
        ('frame', 'frame', None), ('frame-sem', 'frame', None),
        ('reg', 'propagate', 5), ('sem', 'propagate', 5), ('copy', 'copy', 5),
    ]  # fmt: skip
    group = groups(found)
    assert group['frame'] == group['reg'] == group['copy'] != group['sem'] == group['frame-sem']
    step = curve('reg=two.py,reg.pth', **{'a.b': 'dev.json'}).evaluations[1].step
    assert step.command[-2:] == ('--cfg-options', 'a.b=dev.json') and step.environment == ()


def test_other_test_data_make_another_group_and_frame_may_be_asked_for():
    Path('other.py').write_text('test_dataloader = dict(batch_size=1)')
    group = groups(curve('a=two.py,reg.pth', 'b=other.py,reg.pth'))
    assert group['a'] == group['frame'] != group['b'] == group['frame-b']
    assert set(groups(curve('image=one.py,one.pth,frame', 'reg=two.py,reg.pth'))) == {
        'image',
        'reg',
    }


def test_names_of_files_may_have_commas():
    for old, new in (('two.py', 'two,2.py'), ('reg.pth', 'reg,copy.pth')):
        Path(new).write_bytes(Path(old).read_bytes())
    _, one = curve('reg=two,2.py,reg,copy.pth,track').evaluations
    assert (one.row.config, one.row.checkpoint) == ('two,2.py', 'reg,copy.pth')
    assert one.row.method == 'track'


def test_bad_runs_are_refused():
    for run, message in (
        ('reg=two.py', 'expected NAME=CONFIG,CHECKPOINT'),
        ('a/b=two.py,reg.pth', "row name 'a/b'"),
        ('c=two.py,reg.pth,kopy', "method = 'kopy', expected one of"),
    ):
        with pytest.raises(ExperimentError, match=message):
            curve(run)


def test_the_curve_is_drawn_and_finished_evaluations_are_kept(capsys):
    run_tool(*RUNS, '--key-intervals', '2', '4')
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

    save('sem.pth', {'spatial.detector.w': 3.0, 'temporal.w': 6.0})  # trained further
    Path('out/rows/reg/l4/metrics.json').unlink()
    run_tool(*RUNS, '--key-intervals', '2', '4')
    again = sem | {'rows/frame-sem', 'rows/reg/l4', 'speed', 'speed-frame-sem'}
    assert started(capsys.readouterr().out) == again


def test_accuracy_at_each_distance(capsys):
    runs = ('--run', 'two=two.py,reg.pth', '--run', 'copy=two.py,reg.pth,copy', '--distances')
    run_tool(*runs, '--key-intervals', '3', '--work-dir', 'out')
    printed = capsys.readouterr().out
    assert not {'speed'} & started(printed)
    assert ['frame', '80.0', '80.0', '80.0', '80.0'] in cells(printed)
    table = Path('out/table.md').read_text()
    assert '| | d = 0 | d = 1 | d = 2 | mean |' in table
    assert '| two | 72.0 | 64.8 | 57.6 | 64.8 |' in table
    assert '| copy | 40.0 | 36.0 | 32.0 | 36.0 |' in table
    lines = json.loads(Path('out/table.json').read_text())
    assert [(line['row'], len(line['mAP_at'])) for line in lines] == [
        ('frame', 1), ('two', 3), ('copy', 3)
    ]  # fmt: skip
    assert lines[1]['mean'] == pytest.approx(0.72 * 0.9)
    assert Path('out/distance.png').read_bytes()[:4] == b'\x89PNG'
