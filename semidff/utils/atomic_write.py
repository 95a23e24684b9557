"""Files that are either whole or not there."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def atomic_write(path: str | Path, binary: bool = False) -> Iterator[IO]:
    """Opens a file that appears under its name only when it is complete.

    The content goes to a neighbor of the same folder, which is renamed at the end. On any exception,
    an interrupt included, the neighbor is removed and what stood under the name before stays as it
    was.

    Args:
        path: The file to write; missing parent folders are made.
        binary: Whether it takes bytes, not text.

    Yields:
        The open file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        mode = dict(mode='wb') if binary else dict(mode='w', encoding='utf-8')
        with open(unfinished, **mode) as file:
            yield file
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_json(content: Any, path: str | Path, indent: int | None = None) -> None:
    """Writes ``content`` as standard json (no NaN tokens) with :func:`atomic_write`.

    Raises:
        ValueError: A number in ``content`` is NaN or infinite.
    """
    with atomic_write(path) as file:
        json.dump(content, file, indent=indent, allow_nan=False)
