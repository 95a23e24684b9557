"""Reading ahead: the same items in the same order, a thread that ends."""

import contextvars
import threading
import time

import pytest

from semidff.datasets.video_readers.sources import prefetch

NAME = 'read-ahead'


def threads() -> int:
    return sum(thread.name.startswith(NAME) for thread in threading.enumerate())


def until(condition) -> bool:
    """Waits for what a thread is about to do."""
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)
    return condition()


def counted(made: list, count: int = 100):
    try:
        for index in range(count):
            made.append(index)
            yield index
    finally:
        made.append('closed')


@pytest.mark.parametrize('depth', [0, 1, 4, 1000])
def test_the_same_items_in_order(depth):
    made = []
    assert list(prefetch(counted(made), depth)) == list(range(100))
    assert made == [*range(100), 'closed'] and threads() == 0


def test_nothing_is_made_before_the_first_is_asked_for_and_never_more_than_the_depth():
    made = []
    items = prefetch(counted(made), 3)
    time.sleep(0.02)
    assert made == [] and threads() == 0
    for asked in range(5):
        assert next(items) == asked
        # the one in hand, and three behind it
        assert until(lambda: len(made) == asked + 4)  # noqa: B023
        time.sleep(0.005)
        assert len(made) == asked + 4
    items.close()


def test_depth_0_has_no_thread_and_makes_nothing_ahead():
    made = []
    items = prefetch(counted(made), 0)
    for asked in range(3):
        assert next(items) == asked and made == list(range(asked + 1)) and threads() == 0
    items.close()
    assert made[-1] == 'closed'


@pytest.mark.parametrize('drop', ['close', 'del'])
def test_whoever_stops_ends_the_thread(drop):
    made = []
    items = prefetch(counted(made), 2)
    assert next(items) == 0 and threads() == 1
    if drop == 'close':
        items.close()
    del items
    assert threads() == 0 and made[-1] == 'closed'


@pytest.mark.parametrize('depth', [0, 1, 8])
def test_errors_come_out_at_their_place(depth):
    def broken():
        yield from range(3)
        raise ConnectionError('the cable')

    items = prefetch(broken(), depth)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ConnectionError, match='the cable'):
        next(items)
    with pytest.raises(StopIteration):
        next(items)
    assert threads() == 0


def test_the_thread_has_the_context_of_whoever_asks():
    variable = contextvars.ContextVar('variable', default='none')
    variable.set('mine')
    assert list(prefetch((variable.get() for _ in range(2)), 1)) == ['mine'] * 2
