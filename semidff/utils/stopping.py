"""What Ctrl-C and SIGTERM do: end a tool, or complete the files of a program that is terminated."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_exiting = 0  # contexts in which SIGTERM raises SystemExit


@contextmanager
def interrupted_by_signals(received: list[int]) -> Iterator[None]:
    """Raise KeyboardInterrupt at Ctrl-C and SIGTERM, whose numbers are appended to ``received``."""
    process = os.getpid()

    def interrupt(number: int, frame: object) -> None:
        if os.getpid() != process:  # a worker, which inherits the handler
            os._exit(128 + number)
        received.append(number)
        raise KeyboardInterrupt

    signals = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored
        signals.append(signal.SIGINT)
    before = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def exits_on_sigterm() -> Iterator[None]:
    """Let SIGTERM raise SystemExit, so that files are completed, unless it is handled."""
    global _exiting
    _exiting += 1
    _replace_handler(signal.SIG_DFL, _exit)
    try:
        yield
    finally:
        _exiting -= 1
        if not _exiting:
            _replace_handler(_exit, signal.SIG_DFL)


def _exit(number: int, frame: object) -> None:
    sys.exit(128 + number)


def _replace_handler(old: Any, new: Any) -> None:
    """Replace the handler of SIGTERM, which only the main thread can do."""
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) == old:
        signal.signal(signal.SIGTERM, new)
