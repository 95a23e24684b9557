"""Loops that the user can end early."""

import signal
from collections.abc import Generator, Iterator
from typing import Any


def until_stopped(results: Generator) -> Iterator[Any]:
    """Yield results until the first Ctrl-C or SIGTERM, then close the generator; the second one interrupts."""
    signals, stopped = (signal.SIGINT, signal.SIGTERM), False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True
        for number in signals:
            signal.signal(number, signal.default_int_handler)

    before = {number: signal.signal(number, stop) for number in signals}
    try:
        for result in results:
            yield result
            if stopped:
                break
        results.close()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
