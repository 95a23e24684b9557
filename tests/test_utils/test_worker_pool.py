"""Worker processes: order of the results, and errors."""

import os
import signal
from concurrent.futures.process import BrokenProcessPool

import pytest

from semidff.utils.worker_pool import pool_map


def _twice(number):
    return 2 * number


def _end(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGTERM)
    return number


@pytest.mark.parametrize(('workers', 'chunk'), [(1, 1), (2, 1), (2, 3)])
def test_results_are_in_order(workers, chunk):
    results = pool_map(_twice, iter(range(100)), workers, chunk)
    assert list(results) == list(range(0, 200, 2))


def test_errors_and_ends_of_workers_are_errors():
    with pytest.raises(TypeError, match='unsupported'):
        list(pool_map(_twice, [1, {}], 2))
    with pytest.raises(BrokenProcessPool):
        list(pool_map(_end, range(9), 2))
