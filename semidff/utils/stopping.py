"""What Ctrl-C and SIGTERM do: end a tool, or the loop over the frames of a video."""

import os
import signal
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

_AGAIN = 0.5  # seconds
_PATIENCE = 10.0  # seconds in which a loop over frames has to end
_exiting = 0  # contexts in which SIGTERM raises SystemExit
_waits = False  # whether the next signal ends a loop over frames


@contextmanager
def interrupted_by_signals(received: list[int]) -> Iterator[None]:
    """Raise KeyboardInterrupt at Ctrl-C and SIGTERM, and again twice a second while nothing ends because of it.

    Python drops an exception in a destructor or in the callback of a weak reference, and a bare ``except`` of a library
    may catch it.
    """
    process = os.getpid()

    def interrupt(number: int, frame: object) -> None:
        global _waits
        if os.getpid() != process:  # a worker, which inherits the handler
            os._exit(128 + number)
        if number != signal.SIGALRM:
            received.append(number)
            patience = _PATIENCE if _waits else _AGAIN
            signal.setitimer(signal.ITIMER_REAL, patience, _AGAIN)
        elif _is_ending():
            return
        if not _waits:
            raise KeyboardInterrupt
        _waits = False

    signals = [signal.SIGTERM, signal.SIGALRM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored
        signals.append(signal.SIGINT)
    before = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_ending() -> bool:
    """Return whether code runs that handles an interruption or the end of a generator, as a ``finally`` does."""
    error = sys.exc_info()[1]
    while isinstance(error, Exception):  # raised while another one was handled
        error = error.__context__
    return error is not None


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
    """Yield results until the first signal in :func:`interrupted_by_signals`, then close the generator.

    Where no further result comes within ten seconds, KeyboardInterrupt is raised.
    """
    global _waits
    _waits = True
    try:
        for result in results:
            yield result
            if not _waits:
                signal.setitimer(signal.ITIMER_REAL, 0)
                break
        results.close()
    finally:
        _waits = False
