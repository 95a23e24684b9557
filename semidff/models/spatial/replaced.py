"""Temporary replacement of a method by its known result."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(owner: Any, method: str, result: Any) -> Iterator[None]:
    """Let ``owner.method(...)`` return ``result``, whatever its arguments, until the context ends."""
    setattr(owner, method, lambda *_, **__: result)
    try:
        yield
    finally:
        delattr(owner, method)
