"""One method of one object, replaced for a while by its known result."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(owner: Any, method: str, result: Any) -> Iterator[None]:
    """Lets ``owner.method(...)`` return ``result``, whatever the arguments."""
    setattr(owner, method, lambda *_, **__: result)
    try:
        yield
    finally:
        delattr(owner, method)
