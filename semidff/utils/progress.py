"""Progress display of everything that takes long."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar('T')

tqdm.monitor_interval = 0  # without a thread: a process that forks workers must not hold its locks


def track(
    items: Iterable[T], description: str, total: int | None = None, unit: str = 'frames'
) -> Iterator[T]:
    """Show progress on standard error: a live bar in a terminal, else a line in 15 seconds.

    Args:
        items: An item is counted when the next item is requested.
        total: Number of items; None if unknown.
        unit: Plural noun.
    """
    live = sys.stderr.isatty()
    interval = 0.2 if live else 15
    yield from tqdm(
        items, description, total, leave=not live, unit=f' {unit}', mininterval=interval, miniters=1
    )
