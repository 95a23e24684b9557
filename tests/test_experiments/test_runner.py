"""Chains of real processes: done once, continued, stopped, failed."""

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from semidff.experiments import ExperimentRunner, StepFailed, collect, load_experiment
from semidff.experiments.main import main
from semidff.experiments.settings import ROOT
from semidff.utils.progress import ProgressLine
from tests.test_experiments.project import CHAIN, make_project


@pytest.fixture(autouse=True)
def _in_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(chain, only=(), jobs=2) -> str:
    """Runs a chain and returns what it printed."""
    out = io.StringIO()
    ExperimentRunner(load_experiment(chain), jobs, ProgressLine(out)).run(only)
    return out.getvalue()


def started(printed: str) -> set[str]:
    return {line.split(':')[0] for line in printed.splitlines() if ': started' in line}


def test_everything_runs_once_and_the_rows_are_there(tmp_path):
    chain = make_project(tmp_path)
    rows = {'rows/frame', *(f'rows/{r}/l{n}' for r in ('copy', 'two-step') for n in (5, 10))}
    assert started(run(chain)) == {'world', 'stage_one', 'stage_two'} | rows
    assert started(run(chain)) == set()
    measured = {
        (m.row, m.key_interval): m.metrics['vid/mAP'] for m in collect(load_experiment(chain))
    }
    assert measured['frame', None] == pytest.approx(0.8)
    assert measured['copy', 10] == pytest.approx(0.4)
    assert measured['two-step', 5] == pytest.approx(0.72)
    assert Path('out/rows/two-step/l10/videos/v.mp4').read_text() == '2'
    assert not Path('out/rows/two-step/l5/videos').exists()


def test_a_changed_config_repeats_what_depends_on_it_from_the_start(tmp_path):
    chain = make_project(tmp_path)
    run(chain)
    make_project(tmp_path, two='lr = 1')
    again = started(run(chain))
    assert again == {'stage_two', 'rows/two-step/l5', 'rows/two-step/l10'}
    assert Path('out/stage_two/iter_1.pth').exists(), 'it began at iteration 0, not at the old end'
    assert Path('out/previous/stage_two/iter_3.pth').exists()
    make_project(tmp_path, one='# a comment', two='lr = 1')
    assert started(run(chain)) == set()


def test_a_failing_step_stops_the_chain_and_is_continued(tmp_path):
    chain = make_project(tmp_path, two='broken = 2')
    with pytest.raises(StepFailed, match=r'(?s)stage_two failed: exit status 1.*loss is nan.*log'):
        run(chain)
    assert not Path('out/rows').exists()
    # The step was begun with this very definition, so it goes on after its last checkpoint ...
    broken = Path('two.py').read_text()
    Path('tools/train.py').write_text(Path('tools/train.py').read_text().replace("'broken'", "'-'"))
    assert Path('two.py').read_text() == broken
    printed = run(chain)
    assert 'stage_two: continued' in printed
    # ... and its weights come from there, not from the stage before.
    assert Path('out/stage_two/last.pth').read_text() == '1 randomness.seed=0'
    assert Path('out/stage_one/last.pth').read_text().startswith('0 ')


def test_a_training_without_checkpoint_is_a_failure(tmp_path):
    chain = make_project(tmp_path)
    Path('tools/train.py').write_text('print("nothing")')
    with pytest.raises(StepFailed, match=r'(?s)stage_one failed.*without a checkpoint'):
        run(chain)


def test_seeds_repeat_what_is_not_shared(tmp_path):
    chain = make_project(tmp_path, CHAIN + 'seeds = [0, 3]\nkey_intervals = [10]\n')
    names = started(run(chain))
    assert 'world' in names
    assert {f'seed{s}/{n}' for s in (0, 3) for n in ('stage_one', 'stage_two')} <= names
    assert len(names) == 1 + 2 * (2 + 3)
    assert (
        Path('out/seed3/stage_one/last.pth').read_text() == '0 randomness.seed=3 data=out/world/n'
    )
    assert Path('out/seed3/stage_two/last.pth').read_text().endswith('out/seed3/stage_one/last.pth')
    assert [m.seed for m in collect(load_experiment(chain)) if m.row == 'frame'] == [0, 3]


def test_only_runs_a_step_and_what_it_needs(tmp_path):
    chain = make_project(tmp_path)
    assert started(run(chain, ['stage_one'])) == {'world', 'stage_one'}
    assert started(run(chain, ['copy'])) == {'rows/copy/l5', 'rows/copy/l10'}
    with pytest.raises(ValueError, match="no step or row 'stage_three'"):
        run(chain, ['stage_three'])


def test_independent_steps_run_at_the_same_time(tmp_path):
    wait = (
        'import pathlib, sys, time\nme, other = sys.argv[1:]\npathlib.Path(me).touch()\n'
        'for _ in range(100):\n    if pathlib.Path(other).exists(): sys.exit()\n'
        "    time.sleep(0.1)\nsys.exit('alone')"
    )
    steps = [
        dict(name=n, command=['python', '-c', wait, n, m]) for n, m in (('a', 'b'), ('b', 'a'))
    ]
    chain = make_project(tmp_path, f"work_dir = 'out'\nsteps = {steps!r}\n")
    assert started(run(chain)) == {'a', 'b'}


def test_rows_run_alone_with_all_threads(tmp_path):
    code = "import os; open('threads', 'a').write(os.environ['OMP_NUM_THREADS'] + ' ')"
    steps = [dict(name='a', command=['python', '-c', code], alone=True)]
    run(make_project(tmp_path, f"work_dir = 'out'\nsteps = {steps!r}\n"))
    assert int(Path('threads').read_text()) == len(os.sched_getaffinity(0))


def start_command(chain: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(ROOT / 'tools/run_experiment.py'), str(chain)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        # a shell in the background has its commands ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def arguments(chain: Path) -> argparse.Namespace:
    options = dict(work_dir=None, jobs=2, only=[], list=False, cfg_options=None)
    return argparse.Namespace(config=str(chain), **options)


def test_the_command_is_interrupted_continued_and_writes_the_table(tmp_path, capsys):
    chain = make_project(tmp_path, two='iters = 400; pause = 0.1')
    process = start_command(chain)
    deadline = time.monotonic() + 300
    while not Path('out/stage_two/iter_2.pth').exists():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(RuntimeError, match='still works in out'):
        run(chain)
    process.send_signal(signal.SIGINT)
    assert 'The same command continues' in process.communicate()[0]
    assert process.returncode == 130
    at_stop = len(list(Path('out/stage_two').glob('iter_*.pth')))
    time.sleep(0.3)
    assert len(list(Path('out/stage_two').glob('iter_*.pth'))) == at_stop, 'the step has ended, too'

    assert main(arguments(chain)) == 0
    printed = capsys.readouterr().out
    assert int(Path('out/stage_two/last.pth').read_text().split()[0]) == at_stop
    assert 'A key frame every 10 frames, one seed:' in printed
    lines = {e['row']: e for e in json.loads(Path('out/table.json').read_text())}
    assert lines['two-step']['gap recovery']['mean'] == pytest.approx(0.8)
    assert Path('out/table.png').stat().st_size > 10_000


def test_errors_are_one_clear_message(tmp_path, capsys):
    chain = make_project(tmp_path, CHAIN.replace("train='two.py'", "train='absent.py'"))
    assert main(arguments(chain)) == 1
    assert 'Error: absent.py is neither in' in capsys.readouterr().err
    assert not Path('out').exists()
    assert main(arguments(make_project(tmp_path, one='broken = 1'))) == 1
    assert 'The whole log: out/logs/stage_one.log' in capsys.readouterr().err


def test_listing_runs_nothing(tmp_path, capsys):
    options = arguments(make_project(tmp_path))
    options.list, options.only = True, ['stage_one']
    assert main(options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == 'to run    stage_one (train, about 0.01 min, needs world)'
    assert lines[2].startswith('left out  stage_two')
    assert not Path('out').exists()
