"""Work of an iterator done ahead, in the background."""

import contextvars
from collections.abc import Iterator
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import TypeVar

T = TypeVar('T')

READ_AHEAD = 4
"""Frames that are read ahead where nothing else is asked for."""


def made_ahead(items: Iterator[T], depth: int) -> Iterator[T]:
    """The items of an iterator, made up to ``depth`` ahead by a thread.

    Order and items are the same as without it; what the iterator raises comes out at its place, behind the items made
    before. Closing this iterator, or dropping it, closes the other one and ends the thread; an item that is being made
    then is waited for. Nothing happens before the first item is asked for.

    Args:
        items (Iterator): What is to be made ahead.
        depth (int): How many items may wait; 0: none is made before it is asked for, and there is no thread.
    """
    if depth == 0:
        yield from items
        return
    room, made, stop = Semaphore(depth), SimpleQueue(), Event()
    # in a copy of the caller's context: contexts of warnings and the like hold in the thread, too
    context = contextvars.copy_context()
    thread = Thread(
        target=context.run, args=(_make, items, room, made, stop), name='read-ahead', daemon=True
    )
    thread.start()
    try:
        while True:
            item, error, ended = made.get()
            if error is not None:
                raise error
            if ended:
                return
            room.release()
            yield item
    finally:
        stop.set()
        room.release()
        thread.join()


def checked_depth(depth: int | None) -> int | None:
    """The depth, if it can be one (or None); else raises a ValueError."""
    if depth is not None and depth < 0:
        raise ValueError(f'read_ahead is {depth}; it must be a number of frames, 0 or more')
    return depth


def _make(items: Iterator[T], room: Semaphore, made: SimpleQueue, stop: Event) -> None:
    """Puts (item, error, whether this is the end) into ``made`` as long as there is room and nobody says stop."""
    error = None
    try:
        while True:
            room.acquire()
            if stop.is_set():
                break
            try:
                made.put((next(items), None, False))
            except StopIteration:
                break
    except BaseException as raised:  # whatever it is belongs to whoever asks for the item
        error = raised
    finally:
        if hasattr(items, 'close'):
            items.close()
        made.put((None, error, True))
