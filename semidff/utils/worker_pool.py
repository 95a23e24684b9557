"""Calculations in several processes, which end with this process and never keep it waiting."""

import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_all_start_methods, get_context
from typing import TypeVar

import cv2

T = TypeVar('T')
R = TypeVar('R')


class WorkerError(RuntimeError):
    """A worker process ended before its work was done."""


@contextmanager
def mapped(
    function: Callable[[T], R], items: Iterable[T], workers: int, chunk: int = 1
) -> Iterator[Iterator[R]]:
    """Apply a function to items in several processes, which have ended when the context is left.

    Args:
        function: Function that can be pickled.
        items: The items.
        workers: Number of processes; with 1 or less, the function runs in this process.
        chunk: Number of items that a process takes at once.

    Yields:
        The results, in the order of the items.

    Raises:
        WorkerError: If a process ends before its work is done.
    """
    if workers <= 1:
        yield map(function, items)
        return
    others = active_children()
    # Forking avoids importing the package again, which takes longer than much of the work.
    context = get_context('fork' if 'fork' in get_all_start_methods() else None)
    with ProcessPoolExecutor(workers, context, _prepare_worker) as pool:
        try:
            yield pool.map(function, items, chunksize=chunk)
        except BaseException as error:
            for process in active_children():
                if process not in others:
                    process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise WorkerError(
                    f'one of {workers} worker processes ended unexpectedly: it crashed, was killed, or the memory was '
                    'not sufficient; try again with fewer workers'
                ) from error
            raise


def _prepare_worker() -> None:
    # An inherited handler in Python does not run while a worker waits for its next item.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends its workers
    cv2.setNumThreads(0)  # OpenCV's threads do not survive a fork
