"""Background execution of an iterator."""

import contextvars
from collections.abc import Iterator
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import TypeVar

T = TypeVar('T')


def prefetch(items: Iterator[T], depth: int) -> Iterator[T]:
    """Yield the items of an iterator, which a thread computes up to ``depth`` ahead.

    Items and order are unchanged; an exception of the iterator is raised at its position. Closing or dropping
    this iterator closes the other one and ends the thread, after the item in progress. Nothing runs before
    the first item is requested.

    Args:
        items: The iterator.
        depth: Maximum number of items that wait; 0: no thread, each item is computed on request.
    """
    if depth == 0:
        yield from items
        return
    free, ready, stop = Semaphore(depth), SimpleQueue(), Event()
    # a copy of the caller's context: context variables, such as warning filters, hold in the thread too
    context = contextvars.copy_context()
    thread = Thread(
        target=context.run, args=(_fill, items, free, ready, stop), name='read-ahead', daemon=True
    )
    thread.start()
    try:
        while True:
            item, error, ended = ready.get()
            if error is not None:
                raise error
            if ended:
                return
            free.release()
            yield item
    finally:
        stop.set()
        free.release()
        thread.join()


def _fill(items: Iterator[T], free: Semaphore, ready: SimpleQueue, stop: Event) -> None:
    """Put (item, error, whether the iterator has ended) into ``ready`` until ``stop`` is set."""
    error = None
    try:
        while True:
            free.acquire()
            if stop.is_set():
                break
            try:
                ready.put((next(items), None, False))
            except StopIteration:
                break
    except BaseException as raised:  # raised again where the item is requested
        error = raised
    finally:
        if hasattr(items, 'close'):
            items.close()
        ready.put((None, error, True))
