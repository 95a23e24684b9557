"""Calculations in several processes."""

import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_all_start_methods, get_context
from typing import TypeVar

import cv2

T = TypeVar('T')
R = TypeVar('R')


def pool_map(
    function: Callable[[T], R], items: Iterable[T], workers: int, chunk: int = 1
) -> Iterator[R]:
    """Apply a function to items in several processes; yield the results in the order of the items.

    With one worker, the function runs in this process. ``chunk`` is the number of items that a
    process takes at once. Forked processes have the function as it is: it may be a closure.
    """
    if workers == 1:
        yield from map(function, items)
        return
    # Forking avoids importing the package again, which takes longer than much of the work.
    context = get_context('fork' if 'fork' in get_all_start_methods() else None)
    with ProcessPoolExecutor(workers, context, _prepare_worker, (function,)) as pool:
        yield from pool.map(_apply, items, chunksize=chunk)


_function: list[Callable] = []  # of a worker process


def _apply(item):
    return _function[0](item)


def _prepare_worker(function: Callable) -> None:
    _function[:] = [function]
    # An inherited handler in Python does not run while a worker waits for its next item.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends its workers
    cv2.setNumThreads(0)  # OpenCV's threads do not survive a fork
    if torch := sys.modules.get('torch'):  # would wait for its threads for ever
        torch.set_num_threads(1)
