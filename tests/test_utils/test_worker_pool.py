"""Worker processes: order of the results, errors, and ends of processes."""

import argparse
import os
import signal
import sys
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from semidff.converters.ilsvrc import to_coco
from semidff.synthetic import build
from semidff.synthetic.build import build_dataset
from semidff.synthetic.presets import PRESETS
from semidff.utils.arguments import run_tool
from semidff.utils.worker_pool import WorkerError, mapped

NO_PARTS = dict(train=0, videos=0, val=0, dev=0, flow=0, crops=0)


def _wait(*_, **__):
    Path('busy').write_text(str(os.getpid()))
    time.sleep(60)


def _synthetic():
    build._make_item = _wait
    build_dataset('data', replace(PRESETS['tiny'], stills=1, **NO_PARTS), workers=2)


def _ilsvrc():
    to_coco._read_or_reason = _wait
    Path('list.txt').write_text('a 1')
    to_coco.convert_det('.', 'list.txt', 'out.json', workers=2)


def _run_in_own_session(folder, work):
    os.setsid()
    os.chdir(folder)
    sys.argv, sys.stderr = ['tool'], open('errors', 'w', buffering=1)  # noqa: SIM115
    run_tool(lambda _: work(), argparse.Namespace())


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
@pytest.mark.parametrize('user', [_synthetic, _ilsvrc])
def test_everything_ends_with_a_process_that_is_killed(tmp_path, user, kill):
    """The users of the pool have one item, which takes longer than the test, and two processes."""
    tool = get_context('fork').Process(target=_run_in_own_session, args=(tmp_path, user))
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
        assert kill == 'group' or 'one of 2 worker processes ended unexpectedly' in errors
    finally:
        for member in _members(tool.pid):
            os.kill(member, signal.SIGKILL)
        tool.join()


@pytest.mark.parametrize('workers', [1, 2])
@pytest.mark.parametrize('chunk', [1, 3])
def test_results_are_in_order(workers, chunk):
    with mapped(_twice, iter(range(100)), workers, chunk) as results:
        assert list(results) == list(range(0, 200, 2))


def test_an_error_of_a_worker_is_raised():
    with pytest.raises(TypeError, match='unsupported'), mapped(_twice, [1, {}], 2) as results:
        list(results)


def test_a_worker_that_ends_is_an_error():
    with (
        pytest.raises(WorkerError, match='fewer workers'),
        mapped(_end, range(9), 2) as results,
    ):
        list(results)
