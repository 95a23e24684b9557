"""Progress display of everything that takes long."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

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
    yield from _bar(iterable=items, desc=description, total=total, unit=f' {unit}', miniters=1)


@contextmanager
def time_left(description: str) -> Iterator[Callable[[str, float], None]]:
    """Yield a function that takes what was done and which share of everything is done, and shows it
    with the time that is left.
    """
    form = '{desc}: {percentage:.0f} %, {elapsed}, about {remaining} left{postfix}'
    with _bar(desc=description, total=1.0, smoothing=0, miniters=0, bar_format=form) as bar:

        def show(text: str, share: float) -> None:
            bar.set_postfix_str(text, refresh=False)
            bar.update(share - bar.n)

        yield show


def _bar(**options: Any) -> tqdm:
    live = sys.stderr.isatty()
    return tqdm(leave=not live, mininterval=0.2 if live else 15, **options)
