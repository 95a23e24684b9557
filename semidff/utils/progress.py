"""Progress display of everything that takes long."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import TypeVar

import rich.progress
from rich.console import Console

T = TypeVar('T')


def clock(seconds: float) -> str:
    """Format a duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02d}:{rest:02d}' if hours else f'{minutes}:{rest:02d}'


def track(
    items: Iterable[T],
    description: str,
    total: int | None = None,
    unit: str = 'frames',
) -> Iterator[T]:
    """Show on standard error how far an iteration is: a live bar in a terminal, else a line every 15 seconds.

    The bar disappears at the end. Output of ``print`` in the meantime appears above it.

    Args:
        items: What to iterate over; an item is counted when the next one is asked for.
        description: Text before the numbers.
        total: Number of items; None if unknown.
        unit: Plural noun for what is counted.
    """
    stream = sys.stderr
    if stream is None or stream.closed:
        yield from items
        return
    live = stream.isatty()
    # Without rich's own thread: a process that forks workers must not hold its locks.
    bar = rich.progress.Progress(
        rich.progress.BarColumn(),
        rich.progress.TextColumn('{task.description}', markup=False),
        console=Console(file=stream, force_terminal=live),
        auto_refresh=False,
        transient=True,
    )
    task = bar.add_task(description, total=total)
    start, shown = time.monotonic(), float('-inf')
    with bar if live else nullcontext():
        for done, item in enumerate(items, 1):
            yield item
            now = time.monotonic()
            if now - shown < (0.2 if live else 15):
                continue
            shown = now
            text = f'{description}: {_numbers(done, total, unit, now - start)}'
            if live:
                bar.update(task, completed=done, description=text, refresh=True)
            else:
                print(text, file=stream, flush=True)


def _numbers(done: int, total: int | None, unit: str, seconds: float) -> str:
    rate = done / max(seconds, 1e-9)
    text = f'{done}/{total} {unit}' if total else f'{done} {unit}'
    if rate >= 0.1:
        text += f', {rate:.1f} ' + ('fps' if unit == 'frames' else f'{unit}/s')
    if total:
        text += f', {clock(max(total - done, 0) / rate)} left'
    return text
