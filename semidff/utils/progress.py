"""One line that says what runs, how far the chain is and when it will end."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO


def clock(seconds: float) -> str:
    """Seconds as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02d}:{rest:02d}' if hours else f'{minutes}:{rest:02d}'


class ProgressLine:
    """Keeps the last line of a terminal up to date; elsewhere writes a line now and then.

    Args:
        stream: Where to write; standard output by default.
        every: Seconds between two lines where the stream is not a terminal.
    """

    def __init__(self, stream: TextIO | None = None, every: float = 15.0) -> None:
        self.stream = stream or sys.stdout
        self.live = self.stream.isatty()
        self.every = every if not self.live else 0.5
        self._last = float('-inf')

    def due(self) -> bool:
        """Whether it is time for another line (making one costs a look at the logs)."""
        return time.monotonic() - self._last >= self.every

    def show(self, text: str) -> None:
        """Shows the state of the chain."""
        self._last = time.monotonic()
        if not self.live:
            print(text, file=self.stream, flush=True)
            return
        width = shutil.get_terminal_size().columns - 1
        self.stream.write('\r\x1b[2K' + (text if len(text) <= width else text[: width - 3] + '...'))
        self.stream.flush()

    def note(self, text: str) -> None:
        """Writes a line that stays."""
        if self.live:
            self.stream.write('\r\x1b[2K')
        print(text, file=self.stream, flush=True)
