"""Progress display of everything that takes long."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar('T')

tqdm.monitor_interval = 0  # without a thread: a process that forks workers must not hold its locks


class Bar:
    """Progress of a command whose parts differ, with the time that is left, shown as by
    :func:`track`.
    """

    def __init__(self, description: str) -> None:
        live = sys.stderr.isatty()
        self._bar = tqdm(
            total=1.0,
            desc=description,
            leave=not live,
            mininterval=0.2 if live else 15,
            miniters=0,
            smoothing=0,
            bar_format='{desc}: {percentage:.0f} %, {elapsed}, about {remaining} left{postfix}',
        )

    def __call__(self, text: str, share: float) -> None:
        """Show what was done, and which share of everything is done."""
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(share - self._bar.n)

    def close(self) -> None:
        self._bar.close()


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
