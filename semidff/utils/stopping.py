"""What Ctrl-C and SIGTERM do: end a tool, or the loop over the frames of a video."""

import os
import signal
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

_AGAIN = 10.0  # seconds of computation
_exiting = 0  # contexts in which SIGTERM raises SystemExit
_waits = False  # whether the next signal ends a loop over frames


@contextmanager
def interrupted_by_signals(received: list[int]) -> Iterator[None]:
    """Raise KeyboardInterrupt at Ctrl-C and SIGTERM, and again if the process then goes on computing.

    Python drops an exception in a destructor, and a bare ``except`` of a library may catch it.
    """
    process = os.getpid()

    def interrupt(number: int, frame: object) -> None:
        global _waits
        if os.getpid() != process:  # a worker, which inherits the handler
            os._exit(128 + number)
        if _waits:
            _waits = False
            return
        received.append(number)
        signal.setitimer(signal.ITIMER_VIRTUAL, _AGAIN, _AGAIN)
        raise KeyboardInterrupt

    signals = [signal.SIGTERM, signal.SIGVTALRM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored
        signals.append(signal.SIGINT)
    before = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def exits_on_sigterm() -> Iterator[None]:
    """Let SIGTERM raise SystemExit, so that files are completed, unless the program handles it itself."""
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


def until_stopped(results: Generator) -> Iterator[Any]:
    """Yield results until the first signal in :func:`interrupted_by_signals`, then close the generator."""
    global _waits
    _waits = True
    try:
        for result in results:
            yield result
            if not _waits:
                break
        results.close()
    finally:
        _waits = False
