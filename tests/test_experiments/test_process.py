"""Processes of steps: threads, logs, resuming, stopping."""

import os
import sys
import time
from pathlib import Path

import pytest

from semidff.experiments.experiment import Step
from semidff.experiments.runner import (
    StepProcess,
    gpu_variables,
    resuming_command,
    stop,
    thread_variables,
)

VARIABLES = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS')
STUBBORN = """
import os, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
child = os.fork()  # as a data worker
open(f'pid{"" if child else "_worker"}', 'w').write(str(os.getpid()))
time.sleep(60)
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """A function that starts Python code as a step."""
    monkeypatch.chdir(tmp_path)
    lock = os.open('lock', os.O_CREAT)

    def start(code: str) -> StepProcess:
        step = Step('step', 'command', (sys.executable, '-c', code), tmp_path)
        return StepProcess(step, tmp_path / 'log', {}, resume=False, lock=lock)

    yield start
    os.close(lock)


def is_running(pid: int) -> bool:
    status = Path(f'/proc/{pid}/stat')
    return status.exists() and status.read_text().rsplit(')', 1)[1].split()[0] != 'Z'


def test_processes_that_ignore_signals_are_killed_within_three_seconds(start):
    process = start(STUBBORN)
    deadline = time.monotonic() + 30
    files = [Path('pid'), Path('pid_worker')]
    while not all(file.exists() and file.read_text() for file in files):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pids = [int(file.read_text()) for file in files]
    assert all(map(is_running, pids))
    began = time.monotonic()
    stop([process])
    assert time.monotonic() - began < 3
    assert process.poll() is not None
    while any(map(is_running, pids)):  # the kernel may take a moment after the signal
        assert time.monotonic() - began < 5
        time.sleep(0.05)


def test_a_step_that_ends_at_an_interrupt_is_not_killed(start):
    process = start(
        'import time\nprint("rea" + "dy")\n'
        'try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print("sav" + "ed")'
    )
    deadline = time.monotonic() + 30
    while 'ready' not in process.last_lines():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    stop([process])
    assert process.last_lines(1) == 'saved'
    assert process.poll() == 0


def test_last_lines_of_the_log(start):
    process = start("print('\\n'.join(f'line {i}' for i in range(5000)) + '\\n1 %\\r2 %')")
    while process.poll() is None:
        time.sleep(0.05)
    assert process.last_lines(3) == 'line 4998\nline 4999\n2 %'


def test_resuming_takes_the_weights_from_the_own_checkpoint():
    command = ('tools/train.py', 'c.py', '--cfg-options', 'randomness.seed=0', 'load_from=a.pth')
    assert resuming_command(command) == [*command[:4], '--resume']


def test_cores_are_divided_among_jobs(monkeypatch):
    monkeypatch.setattr('os.sched_getaffinity', lambda _: set(range(8)))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert thread_variables(alone=False, jobs=2) == dict.fromkeys(VARIABLES, '4')
    assert thread_variables(alone=True, jobs=2) == dict.fromkeys(VARIABLES, '8')
    assert thread_variables(alone=False, jobs=20) == dict.fromkeys(VARIABLES, '1')


@pytest.mark.parametrize('name', VARIABLES)
def test_threads_that_the_user_set_are_kept(monkeypatch, name):
    for other in VARIABLES:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, '3')
    assert thread_variables(alone=False, jobs=2) == {}
    assert thread_variables(alone=True, jobs=2) == {}


def test_jobs_are_divided_among_the_gpus(monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '2,5')
    chosen = [
        gpu_variables(used)['CUDA_VISIBLE_DEVICES'] for used in ([], ['2'], ['5'], ['5', '2'])
    ]
    assert chosen == ['2', '5', '2', '2']
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '2')
    assert gpu_variables([]) == {}
