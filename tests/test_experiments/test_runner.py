"""Experiments of real processes: done once, continued, stopped, failed."""

import argparse
import contextlib
import io
import json
import os
import runpy
import shutil
import signal
import sys
import time
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from semidff.experiments import ExperimentRunner, StepFailed, collect, runner, work_folder
from semidff.experiments.experiment import Step
from semidff.experiments.main import main, run_continuable
from semidff.experiments.runner import THREAD_VARIABLES, may_start
from semidff.experiments.settings import ROOT, ExperimentError
from semidff.inference.methods import METHODS
from tests.processes import start
from tests.test_experiments.project import EXPERIMENT, load, make_project
from tests.test_experiments.test_process import is_running


@pytest.fixture(autouse=True)
def _in_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(experiment, only=(), jobs=2) -> str:
    """Run an experiment and return what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        ExperimentRunner(load(experiment), jobs).run(only)
    return out.getvalue()


def collected(experiment) -> list:
    """Return the measurements of the rows that are done."""
    loaded = load(experiment)
    return collect(loaded, ExperimentRunner(loaded).done)


def started(printed: str) -> set[str]:
    return {line.split(':')[0] for line in printed.splitlines() if ': started' in line}


def test_everything_runs_once_and_the_rows_are_there(tmp_path):
    experiment = make_project(tmp_path)
    rows = {'rows/frame', *(f'rows/{r}/l{n}' for r in ('copy', 'two-step') for n in (5, 10))}
    assert started(run(experiment)) == {'dataset', 'stage_one', 'stage_two', 'speed'} | rows
    assert started(run(experiment)) == set()
    measured = {(m.row, m.key_interval): m.metrics['vid/mAP'] for m in collected(experiment)}
    assert measured['frame', None] == pytest.approx(0.8)
    assert measured['copy', 10] == pytest.approx(0.4)
    assert measured['two-step', 5] == pytest.approx(0.72)
    assert Path('out/rows/two-step/l10/videos/v.mp4').read_text() == '2'
    assert not Path('out/rows/two-step/l5/videos').exists()


def test_a_changed_config_repeats_what_depends_on_it_from_the_start(tmp_path):
    experiment = make_project(tmp_path)
    run(experiment)
    make_project(tmp_path, two='lr = 1')
    again = started(run(experiment))
    assert again == {'stage_two', 'rows/two-step/l5', 'rows/two-step/l10', 'speed'}
    assert Path('out/stage_two/iter_1.pth').exists(), 'it began at iteration 0, not at the old end'
    assert Path('out/previous/stage_two/iter_3.pth').exists()
    make_project(tmp_path, one='# a comment', two='lr = 1')
    assert started(run(experiment)) == set()


def test_what_depends_on_a_removed_folder_is_repeated_from_the_start(tmp_path):
    experiment = make_project(tmp_path)
    run(experiment)
    shutil.rmtree('out/stage_one')
    assert {m.row for m in collected(experiment)} == set(), 'these weights no longer exist'
    run(experiment, only=['stage_one'])
    assert collected(experiment) == [], 'these are of the former weights'
    again = started(run(experiment))
    assert again == {
        'stage_two', 'rows/frame', 'speed',
        *(f'rows/{r}/l{n}' for r in ('copy', 'two-step') for n in (5, 10)),
    }  # fmt: skip
    assert Path('out/previous/stage_two/last.pth').exists()
    assert started(run(experiment)) == set()


def test_an_interrupted_training_is_not_continued_after_another_run_of_what_it_needs(tmp_path):
    experiment = make_project(tmp_path, two='broken = 2')
    with pytest.raises(StepFailed):
        run(experiment)
    shutil.rmtree('out/stage_one')
    with pytest.raises(StepFailed):
        run(experiment)
    assert Path('out/stage_two/iter_1.pth').read_text().startswith('0 ')
    assert Path('out/previous/stage_two/iter_1.pth').exists()


def test_a_training_of_the_user_is_not_continued(tmp_path):
    experiment = make_project(tmp_path)
    own = Path('out/stage_one')
    own.mkdir(parents=True)
    (own / 'last_checkpoint').write_text('iter_1.pth')
    with pytest.raises(ExperimentError, match='out/stage_one has a training that no experiment'):
        run(experiment)
    assert sorted(path.name for path in own.iterdir()) == ['last_checkpoint']


def test_a_run_killed_before_the_stamp_is_repeated_with_what_depends_on_it(tmp_path):
    experiment = make_project(tmp_path)
    run(experiment)
    stamp = Path('out/stage_two/.step.json')
    stamp.write_text(json.dumps(json.loads(stamp.read_text()) | {'done': False, 'run': None}))
    printed = run(experiment)
    assert 'stage_two: continued' in printed
    assert started(printed) == {'rows/two-step/l5', 'rows/two-step/l10', 'speed'}


def test_stamps_without_ids_of_runs_count_as_done(tmp_path):
    experiment = make_project(tmp_path)
    run(experiment)
    for stamp in Path('out').rglob('.step.json'):
        content = json.loads(stamp.read_text())
        stamp.write_text(json.dumps({k: content[k] for k in ('fingerprint', 'done')}))
    assert started(run(experiment)) == set()
    shutil.rmtree('out/stage_two')
    again = {'stage_two', 'rows/two-step/l5', 'rows/two-step/l10', 'speed'}
    assert 'stage_two' in started(run(experiment, only=['stage_two']))
    assert started(run(experiment)) == again - {'stage_two'}
    assert started(run(experiment)) == set()


def test_tools_of_another_project_in_the_current_folder_do_not_run(tmp_path, monkeypatch):
    make_project(tmp_path)
    experiment = make_project(tmp_path / 'mmdetection')
    for name in ('train', 'test', 'analysis/speed'):
        (tmp_path / f'mmdetection/tools/{name}.py').write_text("raise SystemExit('not ours')")
    monkeypatch.chdir(tmp_path / 'mmdetection')
    assert 'stage_two' in started(run(experiment))


def test_a_failing_step_stops_the_experiment_and_is_continued(tmp_path):
    experiment = make_project(tmp_path, two='broken = 2')
    with pytest.raises(StepFailed, match=r'(?s)stage_two failed: exit status 1.*loss is nan.*log'):
        run(experiment)
    assert not Path('out/rows/two-step').exists()
    # The step was begun with this very definition, so it goes on after its last checkpoint ...
    broken = Path('two.py').read_text()
    Path('tools/train.py').write_text(Path('tools/train.py').read_text().replace("'broken'", "'-'"))
    assert Path('two.py').read_text() == broken
    printed = run(experiment)
    assert 'stage_two: continued' in printed
    # ... and its weights come from there, not from the stage before.
    assert Path('out/stage_two/last.pth').read_text() == '1 randomness.seed=0'
    assert Path('out/stage_one/last.pth').read_text().startswith('0 ')


def test_a_training_without_checkpoint_is_a_failure(tmp_path):
    experiment = make_project(tmp_path)
    Path('tools/train.py').write_text('print("nothing")')
    with pytest.raises(
        StepFailed, match=r'(?s)stage_one failed.*without writing out/stage_one/last.pth'
    ):
        run(experiment)


def test_rows_of_another_definition_are_left_out(tmp_path):
    experiment = make_project(tmp_path)
    run(experiment)
    Path('two.py').write_text(Path('two.py').read_text().replace('good = 0.8', 'good = 0.6'))
    run(experiment, only=['frame'])
    assert {m.row for m in collected(experiment)} == {'frame', 'copy'}
    run(experiment)
    assert {m.row for m in collected(experiment)} == {'frame', 'copy', 'two-step'}


def test_seeds_repeat_what_is_not_shared(tmp_path):
    experiment = make_project(tmp_path, EXPERIMENT + 'seeds = [0, 3]\nkey_intervals = [10]\n')
    names = started(run(experiment))
    assert 'dataset' in names
    assert {f'seed{s}/{n}' for s in (0, 3) for n in ('stage_one', 'stage_two')} <= names
    assert len(names) == 1 + 2 * (2 + 3) + 1
    assert (
        Path('out/seed3/stage_one/last.pth').read_text() == '0 randomness.seed=3 data=out/dataset/n'
    )
    assert Path('out/seed3/stage_two/last.pth').read_text().endswith('out/seed3/stage_one/last.pth')
    assert [m.seed for m in collected(experiment) if m.row == 'frame'] == [0, 3]


def test_only_runs_a_step_and_what_it_needs(tmp_path):
    experiment = make_project(tmp_path)
    assert started(run(experiment, ['stage_one'])) == {'dataset', 'stage_one'}
    assert started(run(experiment, ['copy'])) == {'rows/copy/l5', 'rows/copy/l10', 'speed'}
    with pytest.raises(ValueError, match="no step or row 'stage_three'"):
        run(experiment, ['stage_three'])


def test_rows_are_selected_by_the_tables_that_they_are_in(tmp_path, capsys):
    text = EXPERIMENT.replace("method='frame')", "method='frame', tables={'1': 59.31, '3a': 60})")
    text = text.replace("method='propagate')", "method='propagate', tables={'3b': 58})")
    options = arguments(make_project(tmp_path, text))
    options.list = True
    compared = ['rows/frame', 'rows/copy/l5', 'rows/copy/l10']
    own = ['rows/two-step/l5', 'rows/two-step/l10']
    for tables, rows in ((['1'], compared), (['3b'], compared + own)):
        options.tables = tables
        main(options, METHODS)
        lines = capsys.readouterr().out.splitlines()
        chosen = [line.split()[2] for line in lines if line.startswith('to run')]
        stages = ['stage_one', 'stage_two'][: len(rows) // 2]
        assert chosen == ['dataset', *stages, *rows, 'speed']
    options.tables = ['5']
    with pytest.raises(ValueError, match=r"no row is in table '5'; there are \['1', '3a', '3b'\]"):
        main(options, METHODS)


def test_independent_steps_run_at_the_same_time(tmp_path):
    wait = (
        'import pathlib, sys, time\nme, other = sys.argv[1:]\npathlib.Path(me).touch()\n'
        'for _ in range(100):\n    if pathlib.Path(other).exists(): sys.exit()\n'
        "    time.sleep(0.1)\nsys.exit('alone')"
    )
    steps = [
        dict(name=n, command=['python', '-c', wait, n, m]) for n, m in (('a', 'b'), ('b', 'a'))
    ]
    experiment = make_project(tmp_path, f"work_dir = 'out'\nsteps = {steps!r}\n")
    assert started(run(experiment)) == {'a', 'b'}


def print_threads(folder: Path) -> str:
    """Run a step that runs alone and return its number of threads."""
    code = "import os; open('threads', 'a').write(os.environ['OMP_NUM_THREADS'] + ' ')"
    steps = [dict(name='a', command=['python', '-c', code], alone=True)]
    run(make_project(folder, f"work_dir = 'out'\nsteps = {steps!r}\n"))
    return Path('threads').read_text().strip()


def test_a_step_that_runs_alone_has_all_threads(tmp_path, monkeypatch):
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert int(print_threads(tmp_path)) == len(os.sched_getaffinity(0))


def test_threads_that_the_user_set_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '7')
    assert print_threads(tmp_path) == '7'


def test_a_step_waits_for_its_needs_a_place_and_those_that_run_alone():
    def step(name, needs=(), alone=False):
        return Step(name, 'command', ('true',), Path(name), tuple(needs), alone=alone)

    a, b, speed = step('a'), step('b', needs=['a']), step('speed', alone=True)
    assert may_start(a, set(), [], jobs=1)
    assert not may_start(b, set(), [], jobs=2)
    assert may_start(b, {'a'}, [a], jobs=2)
    assert not may_start(b, {'a'}, [a], jobs=1)
    assert not may_start(speed, set(), [a], jobs=2)
    assert not may_start(a, set(), [speed], jobs=2)


def test_speed_is_measured_alone_after_the_rows(tmp_path):
    experiment = load(make_project(tmp_path, EXPERIMENT + 'seeds = [0, 3]\n'))
    rows = [run.step for run in experiment.rows]
    assert not any(row.alone for row in rows), 'rows give accuracy only'
    (speed,) = (step for step in experiment.all_steps if step.kind == 'speed')
    assert speed.alone
    assert set(speed.needs) == {row.name for row in rows if row.name.startswith('seed0/')}
    # test.py leaves the config there; rows with the same config and weights share the file
    one = 'out/seed0/rows/frame/one.py,out/seed0/stage_one/last.pth'
    assert f'frame={one},frame,1' in speed.command
    assert f'copy/l5={one},copy,5' in speed.command


def test_the_speed_of_what_has_been_evaluated_is_measured(tmp_path):
    experiment = make_project(tmp_path)

    def measured() -> set[str]:
        return set(json.loads(Path('out/speed/speed.json').read_text())['rows'])

    run(experiment, ['copy'])
    assert measured() == {'copy/l5', 'copy/l10'}
    assert started(run(experiment, ['copy'])) == set()
    assert started(run(experiment, ['frame'])) == {'rows/frame', 'speed'}
    assert measured() == {'frame', 'copy/l5', 'copy/l10'}
    run(experiment)
    assert measured() == {'frame', *(f'{r}/l{n}' for r in ('copy', 'two-step') for n in (5, 10))}
    assert started(run(experiment, ['copy'])) == set()


def run_tool(experiment: str) -> None:
    """Run tools/run_experiment.py with the tools of the project."""
    runner.PROJECT = Path.cwd()
    sys.argv = [str(ROOT / 'tools/run_experiment.py'), experiment]
    runpy.run_path(sys.argv[0], run_name='__main__')


def start_command(experiment: Path, ready: str) -> BaseProcess:
    """Start the tool and return its process when it has written a file."""
    process = start(run_tool, str(experiment), output=Path('printed.txt'))
    deadline = time.monotonic() + 300
    while not Path(ready).exists():
        assert process.is_alive(), Path('printed.txt').read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def arguments(experiment: Path) -> argparse.Namespace:
    options = dict(work_dir=None, jobs=2, only=[], tables=[], list=False, cfg_options=None)
    return argparse.Namespace(config=str(experiment), **options)


def test_the_command_is_interrupted_continued_and_writes_the_table(tmp_path, capsys, monkeypatch):
    experiment = make_project(tmp_path, two='iters = 400; pause = 0.1')
    process = start_command(experiment, 'out/stage_two/iter_2.pth')
    monkeypatch.setattr(work_folder, 'LOCK_SECONDS', 0.2)
    with pytest.raises(RuntimeError, match='still works in out'):
        run(experiment)
    os.kill(process.pid, signal.SIGINT)
    process.join()
    assert 'The same command continues' in Path('printed.txt').read_text()
    assert process.exitcode == 130
    at_stop = len(list(Path('out/stage_two').glob('iter_*.pth')))
    time.sleep(0.3)
    assert len(list(Path('out/stage_two').glob('iter_*.pth'))) == at_stop, 'the step has ended, too'

    main(arguments(experiment), METHODS)
    printed = capsys.readouterr().out
    assert int(Path('out/stage_two/last.pth').read_text().split()[0]) == at_stop
    assert 'A key frame every 10 frames, one seed:' in printed
    lines = {e['row']: e for e in json.loads(Path('out/table.json').read_text())}
    assert lines['two-step']['gap recovery']['mean'] == pytest.approx(0.8)
    assert Path('out/table.png').stat().st_size > 10_000


def test_a_step_that_ignores_signals_is_stopped_within_three_seconds(tmp_path):
    stubborn = (
        'import pathlib, signal, time\nfor n in (signal.SIGINT, signal.SIGTERM):\n'
        "    signal.signal(n, signal.SIG_IGN)\npathlib.Path('ready').touch()\ntime.sleep(60)"
    )
    steps = [dict(name='a', command=['python', '-c', stubborn])]
    experiment = make_project(tmp_path, f"work_dir = 'out'\nsteps = {steps!r}\n")
    process = start_command(experiment, 'ready')
    began = time.monotonic()
    process.terminate()
    process.join(30)
    assert process.exitcode == 130
    assert time.monotonic() - began < 3
    run(make_project(tmp_path, "work_dir = 'out'\nsteps = []\n"))  # the folder's lock is free


def test_a_killed_experiment_leaves_no_step_behind_and_is_continued(tmp_path):
    """The step starts a worker that outlives it for a moment, as those of a data loader do."""
    code = (
        'import os, pathlib, time\nown = os.getpid()\npathlib.Path("new").write_text(str(own))\n'
        'pathlib.Path("new").rename("parent")\nwhile os.fork():\n    time.sleep(600)\n'
        'while os.getppid() == own:\n    time.sleep(0.5)'
    )
    steps = [dict(name='a', command=['python', '-c', code])]
    experiment = make_project(tmp_path, f"work_dir = 'out'\nsteps = {steps!r}\n")
    process = start_command(experiment, 'parent')
    process.kill()
    process.join()
    steps[0]['command'][2] = 'pass'
    run(make_project(tmp_path, f"work_dir = 'out'\nsteps = {steps!r}\n"))
    assert not is_running(int(Path('parent').read_text()))


def test_tables_of_videos_are_written_in_the_folder_of_the_experiment(tmp_path):
    experiment = make_project(tmp_path)
    test = Path('tools/test.py').read_text()
    videos = {f'vid/mAP_of/{name}': 0.5 for name in ('../../a', 'a/b', 'a_b', f'{tmp_path}/x')}
    Path('tools/test.py').write_text(test.replace("'fps': 3.0}", f"'fps': 3.0}} | {videos!r}"))
    before = set(tmp_path.iterdir())
    main(arguments(experiment), METHODS)
    assert set(tmp_path.iterdir()) - before == {tmp_path / 'out'}
    names = {path.name for path in Path('out/by_video').iterdir()}
    assert names == {'.._.._a', 'a_b', 'a_b_1', f'{tmp_path}/x'[1:].replace('/', '_')}


def test_errors_are_one_clear_message(tmp_path):
    tool = partial(main, methods=METHODS)
    experiment = make_project(tmp_path, EXPERIMENT.replace("train='two.py'", "train='absent.py'"))
    with pytest.raises(SystemExit, match='^[^\n]*: error: absent.py is neither in'):
        run_continuable(tool, arguments(experiment))
    assert not Path('out').exists()
    with pytest.raises(SystemExit, match=r'The whole log: out/logs/stage_one\.log'):
        run_continuable(tool, arguments(make_project(tmp_path, one='broken = 1')))


def test_listing_runs_nothing(tmp_path, capsys):
    options = arguments(make_project(tmp_path))
    options.list, options.only = True, ['stage_one']
    main(options, METHODS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == 'to run    stage_one (train, needs dataset)'
    assert lines[2].startswith('left out  stage_two')
    assert not Path('out').exists()


DETECTOR = "model = dict(type='RetinaNet', data_preprocessor=dict(), d={})\n"


def test_a_changed_config_of_a_named_detector_repeats_the_training(tmp_path):
    two = "iters = 2\nmodel = dict(type='SemiDFF', detector='det.py')"
    experiment = make_project(tmp_path, two=two)
    Path('det.py').write_text(DETECTOR.format(18))
    run(experiment)
    assert started(run(experiment)) == set()
    Path('det.py').write_text(DETECTOR.format(50))
    assert 'stage_two' in started(run(experiment))
    stamp = Path('out/stage_two/.step.json')
    content = json.loads(stamp.read_text())
    del content['needs']['model.detector of the config']  # as stamps of earlier versions
    stamp.write_text(json.dumps(content))
    assert started(run(experiment)) == set()


def test_a_named_detector_may_be_written_by_a_step(tmp_path):
    name = '{{$RUN_DIR:out}}/stage_one/det.py'
    experiment = make_project(
        tmp_path, two=f"iters = 2\nmodel = dict(type='SemiDFF', detector={name!r})"
    )
    for _ in range(2):
        steps = {step.name: step for step in load(experiment).steps}
        assert 'stage_one' in steps['stage_two'].needs
        Path('out/stage_one').mkdir(parents=True, exist_ok=True)
        Path('out/stage_one/det.py').write_text(DETECTOR.format(18))
