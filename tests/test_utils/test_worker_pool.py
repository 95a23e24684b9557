"""Worker processes: order of the results, errors, and ends of processes."""

import argparse
import os
import signal
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import pytest

from semidff.utils.arguments import run_tool
from semidff.utils.worker_pool import pool_map


def _wait(*_, **__):
    Path('busy').write_text(str(os.getpid()))
    time.sleep(60)


def _run_in_own_session(folder):
    os.setsid()
    os.chdir(folder)
    sys.argv, sys.stderr = ['tool'], open('errors', 'w', buffering=1)  # noqa: SIM115
    run_tool(lambda _: list(pool_map(_wait, [0], 2)), argparse.Namespace())


def _twice(number):
    return 2 * number


def _end(number):
    if number == 3:
        os._exit(1)
    return number


def _members(session):
    """Ids of the running processes of a session."""
    found = []
    for file in Path('/proc').glob('[0-9]*/stat'):
        try:
            state, _, _, of = file.read_text().rpartition(')')[2].split()[:4]
        except OSError:  # it has just ended
            continue
        if int(of) == session and state not in 'XZ':
            found.append(int(file.parent.name))
    return found


@pytest.mark.parametrize('kill', ['group', 'busy worker', 'idle worker'])
def test_everything_ends_with_a_process_that_is_killed(tmp_path, kill):
    """There is one item, which takes longer than the test, and two processes."""
    tool = get_context('fork').Process(target=_run_in_own_session, args=(tmp_path,))
    tool.start()
    try:
        file = tmp_path / 'busy'
        while tool.is_alive() and not (file.exists() and len(_members(tool.pid)) == 3):
            time.sleep(0.05)
        time.sleep(0.5)  # the idle one waits for its next item
        busy = int(file.read_text())
        (idle,) = set(_members(tool.pid)) - {tool.pid, busy}
        if kill == 'group':
            os.killpg(tool.pid, signal.SIGTERM)
        else:
            os.kill(busy if kill == 'busy worker' else idle, signal.SIGKILL)
        tool.join(10)
        assert tool.exitcode and tool.exitcode > 0
        assert _members(tool.pid) == []
        errors = (tmp_path / 'errors').read_text()
        assert 'Traceback' not in errors
        assert kill == 'group' or 'process pool was terminated abruptly' in errors
    finally:
        for member in _members(tool.pid):
            os.kill(member, signal.SIGKILL)
        tool.join()


@pytest.mark.parametrize('workers', [1, 2])
@pytest.mark.parametrize('chunk', [1, 3])
def test_results_are_in_order(workers, chunk):
    results = pool_map(_twice, iter(range(100)), workers, chunk)
    assert list(results) == list(range(0, 200, 2))


def test_an_error_of_a_worker_is_raised():
    with pytest.raises(TypeError, match='unsupported'):
        list(pool_map(_twice, [1, {}], 2))


def test_a_worker_that_ends_is_an_error():
    with pytest.raises(BrokenProcessPool):
        list(pool_map(_end, range(9), 2))
