"""How many threads compute: of a process, and of the intervals that share its cores."""

import os
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier, Lock

import cv2
import psutil
import torch

THREAD_VARIABLES = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS')
_MOST_WORKERS = 4
_STARTING = Lock()  # held while the number of threads that start later is another one


def use_idle_cores() -> None:
    """Set PyTorch's threads to the number of idle cores, unless the user has set a number.

    Threads that share a core with another process delay all others: an iteration may take 20 times
    as long.
    """
    if any(name in os.environ for name in THREAD_VARIABLES):
        return
    torch.set_num_threads(max(1, min(_idle_cores(), torch.get_num_threads())))


def has_busy_cores() -> bool:
    """Return whether other processes, or other threads, compute now."""
    return _idle_cores() < len(_own_cores())


def _idle_cores() -> int:
    busy = psutil.cpu_percent(0.5, percpu=True)
    return round(sum(1 - busy[core] / 100 for core in _own_cores()))


def _own_cores() -> Collection[int]:
    """Return the cores on which this process may run."""
    return (
        os.sched_getaffinity(0) if hasattr(os, 'sched_getaffinity') else range(os.cpu_count() or 1)
    )


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Context with this number of PyTorch's threads, after which it is what it was before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def opencv_threads(count: int) -> Iterator[None]:
    """Set the number of OpenCV's threads of the process while the context lasts."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def default_workers(decoder_threads: int = 1) -> int:
    """Return how many intervals of a file a CPU processes at once, beside the decoder."""
    return max(min(torch.get_num_threads() + 1 - decoder_threads, _MOST_WORKERS), 1)


@contextmanager
def worker_threads(workers: int, share: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """Threads that each have a share of PyTorch's threads; the block ends with them.

    The number that other threads have, and those that start later, stays as it is; that of a thread
    whose first operator of PyTorch runs while the workers start is ``share``, too.

    Args:
        share: Number of PyTorch's threads of each worker; None: those of this thread, divided.
    """
    share = share or max(torch.get_num_threads() // workers, 1)
    started = Barrier(workers + 1)

    def start() -> None:
        torch.get_num_threads()  # else the first operator sets that of all threads
        torch.set_num_threads(share)  # of this thread, and of all that start later
        started.wait()

    pool = ThreadPoolExecutor(workers, 'interval', start)
    try:
        with _STARTING:
            later = _in_new_thread(torch.get_num_threads)
            for _ in range(workers):
                pool.submit(int)
            started.wait()
            _in_new_thread(torch.set_num_threads, later)
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _in_new_thread(function: Callable, *arguments: int) -> int | None:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function, *arguments).result()
