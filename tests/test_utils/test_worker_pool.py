"""Worker processes: order of the results, and errors."""

import os
import signal
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool

import pytest

from semidff.utils.worker_pool import pool_map

CONVOLUTIONS = """
import torch
from semidff.utils.worker_pool import pool_map

torch.set_num_threads(2)
network, maps = torch.nn.Conv2d(16, 16, 3), torch.ones(4, 16, 64, 64)
compute = torch.no_grad()(lambda number: float(network(maps).mean()))
assert compute(0) and len(set(pool_map(compute, range(4), 2))) == 1
"""


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


def test_workers_compute_without_the_threads_of_pytorch():
    """Forked processes do not have them."""
    subprocess.run([sys.executable, '-c', CONVOLUTIONS], check=True, timeout=120)
