"""Frames done, frames per second, time left."""

import sys
import time

from .progress import ProgressLine, clock


class FrameProgress:
    """Progress of a video on standard error: in a terminal one line that changes, else a line now and then.

    (mmengine's bar writes every frame, which fills log files.)

    Args:
        name (str): What to call the video.
        total (int | None): Number of frames; None if nobody knows.
    """

    def __init__(self, name: str, total: int | None) -> None:
        self.name, self.total = name, total
        self._line = ProgressLine(sys.stderr)
        self._start = time.monotonic()

    def update(self, done: int) -> None:
        """Shows that ``done`` frames have results, if it is time to."""
        if self._line.due():
            self._line.show(self.text(done, time.monotonic() - self._start))

    def text(self, done: int, seconds: float) -> str:
        """The line after ``done`` frames in ``seconds``."""
        fps = done / max(seconds, 1e-9)
        of = f'/{self.total}' if self.total else ''
        text = f'{self.name}: {done}{of} frames, {fps:.1f} fps'
        if self.total and done:
            text += f', {clock(max(self.total - done, 0) / fps)} left'
        return text

    def end(self) -> None:
        """Takes the changing line away."""
        if self._line.live:
            self._line.stream.write('\r\x1b[2K')
