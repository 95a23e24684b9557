"""Background execution of an iterator."""

import contextvars
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
    end = object()
    # a copy of the caller's context: context variables, such as warning filters, hold in the thread too
    compute = contextvars.copy_context().run, next, items, end
    thread = ThreadPoolExecutor(1, 'read-ahead')
    try:
        waiting = deque(thread.submit(*compute) for _ in range(depth))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(*compute))
            yield item
    finally:
        thread.shutdown(cancel_futures=True)
        if hasattr(items, 'close'):
            items.close()
