import io
from types import SimpleNamespace

import pytest

from semidff.utils import progress as module
from semidff.utils.progress import clock, track


class Stream(io.StringIO):
    terminal = False

    def isatty(self):
        return self.terminal


@pytest.fixture
def out(monkeypatch):
    """Standard error."""
    stream = Stream()
    monkeypatch.setattr(module, 'sys', SimpleNamespace(stderr=stream))
    return stream


@pytest.fixture
def now(monkeypatch):
    """The monotonic clock, in seconds, as a list of one number."""
    seconds = [100.0]
    monkeypatch.setattr(module.time, 'monotonic', lambda: seconds[0])
    return seconds


def test_clock():
    assert [clock(s) for s in (0, 59.6, 3600, 3725)] == ['0:00', '1:00', '1:00:00', '1:02:05']


def test_a_line_every_15_seconds_outside_a_terminal(now, out):
    for _ in track(range(40), 'clip', total=40):
        now[0] += 1
    assert out.getvalue().splitlines() == [
        'clip: 1/40 frames, 1.0 fps, 0:39 left',
        'clip: 16/40 frames, 1.0 fps, 0:24 left',
        'clip: 31/40 frames, 1.0 fps, 0:09 left',
    ]


def test_unknown_total_and_slow_units(now, out):
    for seconds in track((2, 998), 'two [steps]', unit='steps'):
        now[0] += seconds
    assert out.getvalue().splitlines() == [
        'two [steps]: 1 steps, 0.5 steps/s',
        'two [steps]: 2 steps',
    ]


def test_a_bar_in_a_terminal_that_disappears(now, out):
    out.terminal = True
    for item in track(range(4), 'clip [a]', total=4):
        now[0] += 1
        if item == 2:
            print('a line that stays')
    shown = out.getvalue()
    assert '━' in shown and 'clip [a]: 2/4 frames, 1.0 fps, 0:02 left' in shown
    assert 'a line that stays' in shown
    assert shown.rstrip('\n').endswith('\x1b[2K'), 'the line of the bar is erased last'


def test_track_yields_every_item_and_counts_finished_ones(now, out):
    items = track('abc', 'files', 3, 'files')
    assert next(items) == 'a'
    assert not out.getvalue()
    assert list(items) == ['b', 'c']
    assert out.getvalue().startswith('files: 1/3 files')
