"""Order of steps, time left, and what logs say."""

from pathlib import Path

import pytest

from semidff.experiments.logs import fraction_done, last_lines, tail
from semidff.experiments.process import resuming_command, threads_for
from semidff.experiments.schedule import expected_seconds, may_start, seconds_left
from semidff.experiments.step import Step
from semidff.utils.progress import clock


def step(name, minutes=1.0, needs=(), alone=False):
    return Step(name, 'command', ('true',), Path(name), tuple(needs), minutes, alone=alone)


def test_a_step_waits_for_its_needs_a_place_and_those_who_want_to_be_alone():
    a, b, row = step('a'), step('b', needs=['a']), step('row', alone=True)
    assert may_start(a, set(), [], jobs=1)
    assert not may_start(b, set(), [], jobs=2)
    assert may_start(b, {'a'}, [a], jobs=2)
    assert not may_start(b, {'a'}, [a], jobs=1)
    assert not may_start(row, set(), [a], jobs=2)
    assert not may_start(a, set(), [row], jobs=2)


def test_time_left_plays_the_chain_through():
    chain = [step('a', 2), step('b', 3), step('c', 1, ['a']), step('row', 0.5, ['c'], alone=True)]
    # two places: a 0-2 and b 0-3, c 2-3, the row 3-3.5
    assert seconds_left(chain, set(), {}, jobs=2) == pytest.approx(60 * 3.5)
    assert seconds_left(chain, set(), {}, jobs=1) == pytest.approx(60 * 6.5)
    assert seconds_left(chain, set(), {}, jobs=1, pace=2) == pytest.approx(60 * 13)
    running = {'a': (chain[0], 30.0)}
    assert seconds_left(chain[2:], {'b'}, running, jobs=2) == pytest.approx(30 + 60 * 1.5)
    with pytest.raises(ValueError, match="'c'"):
        seconds_left(chain[2:], set(), {}, jobs=2)


def test_expected_time_trusts_the_measured_pace_more_and_more():
    a = step('a', minutes=10)
    assert expected_seconds(a, 30, None) == 600
    assert expected_seconds(a, 60, 0.5) == pytest.approx(120)
    assert 300 < expected_seconds(a, 30, 0.1) < 600
    assert expected_seconds(a, 900, None) > 900, 'a late step is not over yet'


@pytest.mark.parametrize(
    ('log', 'mode', 'fraction'),
    [
        ('Iter(train) [ 100/1000]  eta: 1\nIter(train) [ 150/1000]  eta', 'train', 0.15),
        ('Iter(train) [ 100/1000]\nEpoch(val) [10][ 90/100]\n', 'train', 0.1),
        ('Epoch(test) [ 50/200]   time: 0.1', 'test', 0.25),
        ('videos: [37/74] done', None, 0.5),
        ('making  40%|####   | 4/10\rmaking  60%|###### | 6/10', None, 0.6),
        ('loading', None, None),
        ('Iter(train) [ 1/0]', 'train', None),
    ],
)
def test_progress_is_read_from_logs(log, mode, fraction):
    assert fraction_done(log, mode) == fraction


def test_last_lines(tmp_path):
    log = tmp_path / 'a.log'
    assert tail(log) == ''
    log.write_text('\n'.join(f'line {i}' for i in range(50)) + '\n1 %\r2 %\n')
    assert last_lines(log, 3) == 'line 48\nline 49\n2 %'


def test_clock():
    assert [clock(s) for s in (0, 59.6, 3600, 3725)] == ['0:00', '1:00', '1:00:00', '1:02:05']


def test_resuming_takes_the_weights_from_the_own_checkpoint():
    command = ('tools/train.py', 'c.py', '--cfg-options', 'randomness.seed=0', 'load_from=a.pth')
    assert resuming_command(command) == [*command[:4], '--resume']


def test_threads_are_shared(monkeypatch):
    monkeypatch.setattr('os.sched_getaffinity', lambda _: set(range(8)))
    assert threads_for(step('a'), rivals=0, jobs=2) == 8
    assert threads_for(step('a'), rivals=3, jobs=2) == 4
    assert threads_for(step('a', alone=True), rivals=3, jobs=2) == 8
    assert threads_for(step('a'), rivals=20, jobs=20) == 1
