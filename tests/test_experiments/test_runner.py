"""Experiments of real processes: done once, continued, stopped, failed."""

import contextlib
import io
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from semidff.experiments import ExperimentError, ExperimentRunner, StepFailed
from semidff.utils.run_folder import FolderInUse
from semidff.utils.threads import THREAD_VARIABLES
from tests.processes import start
from tests.tiny.experiment import EXPERIMENT, load, make_project, run_tool, started


def run(experiment, only=(), jobs=2) -> str:
    """Run an experiment and return what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        ExperimentRunner(load(experiment), jobs).run(only)
    return out.getvalue()


def rows_done(experiment) -> set[str]:
    """Return the rows that have been evaluated."""
    found = ExperimentRunner(load(experiment)).measurements()
    return {item.evaluation.row.name for item in found}


def commands(folder: Path, *steps: dict) -> Path:
    """Write an experiment without rows."""
    return make_project(folder, f"work_dir = 'out'\nsteps = {list(steps)!r}\n")


def python(name: str, code: str, *arguments: str, **settings) -> dict:
    return dict(name=name, command=['python', '-c', code, *arguments], **settings)


def test_everything_runs_once_and_the_rows_are_there(tmp_path):
    experiment = make_project(tmp_path)
    rows = {'rows/frame', *(f'rows/{r}/l{n}' for r in ('copy', 'two-step') for n in (5, 10))}
    assert started(run(experiment)) == {'dataset', 'stage_one', 'stage_two', 'speed'} | rows
    assert started(run(experiment)) == set()
    measured = {
        item.evaluation.label: item.metrics
        for item in ExperimentRunner(load(experiment)).measurements()
    }
    assert measured['frame']['vid/mAP'] == pytest.approx(0.8)
    assert measured['copy/l10']['vid/mAP'] == pytest.approx(0.4)
    assert measured['two-step/l5']['vid/mAP'] == pytest.approx(0.72)
    assert measured['two-step/l5']['fps'] == 50
    assert Path('out/rows/two-step/l10/videos/v.mp4').read_text() == '2'
    assert not Path('out/rows/two-step/l5/videos').exists()
    # the folder may be moved
    Path('out').rename('moved')
    experiment.write_text(EXPERIMENT.replace("'out'", "'moved'"))
    assert started(run(experiment)) == set()


def test_a_changed_config_repeats_what_depends_on_it_from_the_start(tmp_path):
    experiment = make_project(tmp_path)
    run(experiment)
    make_project(tmp_path, two='lr = 1')
    again = started(run(experiment))
    assert again == {'stage_two', 'rows/two-step/l5', 'rows/two-step/l10', 'speed'}
    assert Path('out/stage_two/iter_1.pth').exists(), 'it began at iteration 0, not at the old end'
    make_project(tmp_path, one='# a comment', two='lr = 1')
    assert started(run(experiment)) == set()
    # of a named detector, too
    make_project(tmp_path, two="model = dict(type='SemiDFF', detector='det.py')")
    detector = "model = dict(type='RetinaNet', data_preprocessor=dict(), d={})\n"
    Path('det.py').write_text(detector.format(18))
    run(experiment)
    Path('det.py').write_text(detector.format(50))
    assert 'stage_two' in started(run(experiment))


def test_what_depends_on_a_removed_folder_is_repeated(tmp_path):
    experiment = make_project(tmp_path)
    run(experiment)
    shutil.rmtree('out/stage_one')
    assert rows_done(experiment) == set(), 'these weights no longer exist'
    run(experiment, only=['stage_one'])
    assert rows_done(experiment) == set(), 'these are of the former weights'
    assert started(run(experiment)) == {
        'stage_two', 'rows/frame', 'speed',
        *(f'rows/{r}/l{n}' for r in ('copy', 'two-step') for n in (5, 10)),
    }  # fmt: skip


def test_a_failed_step_stops_the_experiment_and_is_continued(tmp_path):
    experiment = make_project(tmp_path, two='broken = 2')
    with pytest.raises(StepFailed, match=r'(?s)stage_two failed: exit status 1.*loss is nan.*log'):
        run(experiment)
    assert not Path('out/rows/two-step').exists()
    # The step was begun with this very definition, so it goes on after its last checkpoint.
    Path('tools/train.py').write_text(Path('tools/train.py').read_text().replace("'broken'", "'-'"))
    assert 'stage_two: continued' in run(experiment)
    assert Path('out/stage_two/last.pth').read_text().startswith('1 ')
    assert Path('out/stage_one/last.pth').read_text().startswith('0 ')


def test_a_step_without_its_product_has_failed(tmp_path):
    experiment = make_project(tmp_path)
    Path('tools/train.py').write_text('print("nothing")')
    with pytest.raises(StepFailed, match='stage_one failed: no out/stage_one/last.pth was written'):
        run(experiment)


def test_seeds_repeat_what_is_not_shared(tmp_path):
    experiment = make_project(tmp_path, EXPERIMENT + 'seeds = [0, 3]\nkey_intervals = [10]\n')
    names = started(run(experiment))
    assert 'dataset' in names
    assert {f'seed{s}/{n}' for s in (0, 3) for n in ('stage_one', 'stage_two')} <= names
    assert len(names) == 1 + 2 * (2 + 3) + 1
    assert (
        'randomness.seed=3 data=out/dataset/n' in Path('out/seed3/stage_one/last.pth').read_text()
    )
    assert 'out/seed3/stage_one/last.pth' in Path('out/seed3/stage_two/last.pth').read_text()


def test_only_some_steps_and_the_speed_of_what_has_been_evaluated(tmp_path):
    experiment = make_project(tmp_path)

    def measured() -> set[str]:
        return set(json.loads(Path('out/speed/speed.json').read_text())['rows'])

    assert started(run(experiment, ['stage_one'])) == {'dataset', 'stage_one'}
    assert started(run(experiment, ['copy'])) == {'rows/copy/l5', 'rows/copy/l10', 'speed'}
    assert measured() == {'copy/l5', 'copy/l10'}
    assert started(run(experiment, ['copy'])) == set()
    assert started(run(experiment, ['frame'])) == {'rows/frame', 'speed'}
    assert measured() == {'frame', 'copy/l5', 'copy/l10'}
    run(experiment)
    assert len(measured()) == 5
    assert started(run(experiment, ['copy'])) == set()
    with pytest.raises(ExperimentError, match="no step or row 'stage_three'"):
        run(experiment, ['stage_three'])


def test_listing_and_the_rows_of_tables(tmp_path):
    text = EXPERIMENT.replace("method='frame')", "method='frame', tables={'1': 59.31, '3a': 60})")
    text = text.replace("method='propagate')", "method='propagate', tables={'3b': 58})")
    experiment = load(make_project(tmp_path, text))
    compared = ['rows/frame', 'rows/copy/l5', 'rows/copy/l10']
    lines = ExperimentRunner(experiment).listing(experiment.rows_of(['1'])).splitlines()
    assert lines[1] == 'to run    stage_one (train, needs dataset)'
    chosen = [line.split()[2] for line in lines if line.startswith('to run')]
    assert chosen == ['dataset', 'stage_one', *compared, 'speed']
    assert set(experiment.rows_of(['3b'])) == {'frame', 'copy', 'two-step'}
    with pytest.raises(ExperimentError, match=r"table '5'; there are \['1', '3a', '3b'\]"):
        experiment.rows_of(['5'])
    assert not Path('out').exists()


RECORD = """
import os, pathlib, sys, time
start = time.time()
pathlib.Path(sys.argv[1] + '.begun').touch()
while not all(pathlib.Path(name + '.begun').exists() for name in sys.argv[2:]):
    assert time.time() < start + 60
    time.sleep(0.1)
found = os.environ['OMP_NUM_THREADS'], os.environ['CUDA_VISIBLE_DEVICES'], start, time.time()
pathlib.Path(sys.argv[1]).write_text(' '.join(map(str, found)))
"""


def test_threads_gpus_and_steps_that_run_alone(tmp_path, monkeypatch):
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '2,5')
    monkeypatch.setattr('os.sched_getaffinity', lambda _: set(range(8)))
    # a and b wait for each other
    steps = [
        python('a', RECORD, 'a', 'b'),
        python('b', RECORD, 'b', 'a'),
        python('c', RECORD, 'c', alone=True),
    ]
    run(commands(tmp_path, *steps))
    found = {name: Path(name).read_text().split() for name in 'abc'}
    assert [found[name][0] for name in 'abc'] == ['4', '4', '8']
    assert {found['a'][1], found['b'][1]} == {'2', '5'}
    others = [float(found[name][3]) for name in 'ab']
    assert float(found['c'][2]) > max(others)
    # Nothing may run beside the last ones.
    chain = python('e', RECORD, 'e'), python('f', RECORD, 'f', needs=['e'])
    run(commands(tmp_path, *chain, python('g', RECORD, 'g', needs=['f'], alone=True)))
    assert [Path(name).read_text().split()[0] for name in 'efg'] == ['8', '8', '8']
    monkeypatch.setenv('OMP_NUM_THREADS', '7')
    run(commands(tmp_path, python('d', RECORD, 'd')))
    assert Path('d').read_text().split()[0] == '7'


def test_the_command_is_interrupted_continued_and_writes_the_table(tmp_path, capsys):
    experiment = make_project(tmp_path, two='iters = 400; pause = 0.1')
    process = start(run_tool, str(experiment), output=Path('printed.txt'))
    while not Path('out/stage_two/iter_2.pth').exists():
        assert process.is_alive(), Path('printed.txt').read_text()
        time.sleep(0.05)
    with pytest.raises(FolderInUse, match='out: another experiment works in this folder'):
        run(experiment)
    os.kill(process.pid, signal.SIGINT)
    process.join()
    assert process.exitcode == 130
    at_stop = len(list(Path('out/stage_two').glob('iter_*.pth')))
    time.sleep(0.3)
    assert len(list(Path('out/stage_two').glob('iter_*.pth'))) == at_stop, 'the step has ended, too'

    run_tool(str(experiment))
    printed = capsys.readouterr().out
    assert 'stage_two: continued' in printed
    assert int(Path('out/stage_two/last.pth').read_text().split()[0]) == at_stop
    assert 'A key frame every 10 frames, one seed:' in printed
    assert 'Rendered videos of two-step: out/rows/two-step/l10/videos\n' in printed
    lines = {e['row']: e for e in json.loads(Path('out/table.json').read_text())}
    assert lines['two-step']['gap recovery']['mean'] == pytest.approx(0.8)
    assert Path('out/table.png').stat().st_size > 10_000


def test_the_first_section_of_the_result_is_printed(tmp_path, capsys):
    code = "import sys; open(sys.argv[1] + '/report.md', 'w').write('main\\n## rest\\n')"
    steps = [dict(name='report', command=['python', '-c', code, '{report}'])]
    text = f"work_dir = 'out'\nsteps = {steps}\nresult = '{{report}}/report.md'"
    run_tool(str(make_project(tmp_path, text)))
    printed = capsys.readouterr().out
    assert 'main\nMore in out/report/report.md' in printed and 'rest' not in printed


def test_tables_of_videos_are_written_in_the_folder_of_the_experiment(tmp_path):
    experiment = make_project(tmp_path)
    test = Path('tools/test.py').read_text()
    videos = {f'vid/mAP_of/{name}': 0.5 for name in ('../../a', 'a/b', 'a_b')}
    Path('tools/test.py').write_text(test.replace("fast': None}", f"fast': None}} | {videos!r}"))
    before = set(tmp_path.iterdir())
    run_tool(str(experiment))
    assert set(tmp_path.iterdir()) - before == {tmp_path / 'out'}
    assert {path.name for path in Path('out/by_video').iterdir()} == {'.._.._a', 'a_b', 'a_b_1'}
