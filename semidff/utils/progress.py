"""Progress display of everything that takes long."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

import rich.progress
from rich.console import Console

T = TypeVar('T')


def clock(seconds: float) -> str:
    """Format a duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02d}:{rest:02d}' if hours else f'{minutes}:{rest:02d}'


class Progress:
    """Live bar in a terminal; a line every 15 seconds in a log file or a pipe.

    The bar disappears at the end. Output of ``print`` in the meantime appears above it.

    Args:
        description: Text before the numbers.
        total: Number of units; None if unknown.
        unit: Plural noun for what is counted.
        stream: Default: standard error.
        every: Seconds between two lines where the stream is not a terminal.

    Example:
        >>> with Progress('clip.mp4', total=300) as progress:
        ...     for frame in frames:
        ...         progress.advance()
    """

    def __init__(
        self,
        description: str,
        total: int | None = None,
        unit: str = 'frames',
        stream: TextIO | None = None,
        every: float = 15.0,
    ) -> None:
        self.description, self.total, self.unit = description, total, unit
        self.done = 0
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        # Without rich's own thread: a process that forks workers must not hold its locks.
        self._bar = rich.progress.Progress(
            rich.progress.BarColumn(),
            rich.progress.TextColumn('{task.description}', markup=False),
            console=Console(file=self._stream, force_terminal=self._live),
            auto_refresh=False,
            transient=True,
        )
        self._task = self._bar.add_task(description, total=total)
        self._every = 0.2 if self._live else every
        self._start, self._last = time.monotonic(), float('-inf')

    def __enter__(self) -> 'Progress':
        if self._live:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._bar.stop()

    def advance(self, count: int = 1) -> None:
        """Report that ``count`` more units are done."""
        self.update(self.done + count)

    def update(self, done: int, description: str | None = None) -> None:
        """Report that ``done`` units are done in all.

        Args:
            done: Number of units.
            description: New text before the numbers; None keeps it.
        """
        self.done = done
        self.description = description or self.description
        now = time.monotonic()
        if now - self._last < self._every:
            return
        self._last = now
        if self._live:
            self._bar.update(self._task, completed=done, description=self.text(now), refresh=True)
        else:
            print(self.text(now), file=self._stream, flush=True)

    def print(self, line: str) -> None:
        """Write a line that stays."""
        if self._live:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=self._stream, flush=True)

    def text(self, now: float) -> str:
        """Format count, rate and time left.

        Args:
            now: Time of the monotonic clock, in seconds.
        """
        rate = self.done / max(now - self._start, 1e-9)
        total = f'/{self.total}' if self.total else ''
        text = f'{self.description}: {self.done}{total} {self.unit}'
        if rate >= 0.1:
            text += f', {rate:.1f} ' + ('fps' if self.unit == 'frames' else f'{self.unit}/s')
        if self.total and self.done:
            text += f', {clock(max(self.total - self.done, 0) / rate)} left'
        return text


def track(
    items: Iterable[T],
    description: str,
    total: int | None = None,
    unit: str = 'frames',
    stream: TextIO | None = None,
) -> Iterator[T]:
    """Iterate over ``items`` and show the progress; arguments as of :class:`Progress`."""
    with Progress(description, total, unit, stream) as progress:
        for item in items:
            yield item
            progress.advance()
