"""Files that are either complete or absent."""

import fcntl
import glob
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from uuid import uuid4


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Let a writer that takes a path create a file that appears under its name only when it is complete.

    On any exception, an interrupt included, the unfinished file is removed and an existing file is kept. Unfinished
    files that killed processes left of the same file are removed.

    Args:
        path: The file to create or replace; missing parent folders are created.

    Yields:
        An empty file in the same folder with the same suffix, where the content has to be written. It is renamed at
        the end.
    """
    path = Path(os.path.realpath(path))  # a link stays one
    if path.exists() and not path.is_file():  # a device or pipe
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # unique, and not longer than the file's own name where that is long
    start, end = f'.{path.stem[:64]}.', f'.tmp{path.suffix}'
    _remove_abandoned(path.parent, f'{glob.escape(start)}{"[0-9a-f]" * 12}{glob.escape(end)}')
    unfinished = path.with_name(f'{start}{uuid4().hex[:12]}{end}')
    with open(unfinished, 'xb') as lock:
        try:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield unfinished
            os.replace(unfinished, path)
        finally:
            # Renaming a link to another link of the same file does nothing and leaves both.
            unfinished.unlink(missing_ok=True)


def _remove_abandoned(folder: Path, pattern: str) -> None:
    """Remove unfinished files whose writers have ended: these no longer hold the lock."""
    for path in folder.glob(pattern):
        with suppress(OSError), open(path, 'r+b') as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


@contextmanager
def atomic_write(path: str | Path, binary: bool = False) -> Iterator[IO]:
    """Open a file for writing that appears under its name only when it is complete, see :func:`atomic_path`.

    Args:
        path: The file to create or replace.
        binary: Whether bytes are written, not text.
    """
    mode = dict(mode='wb') if binary else dict(mode='w', encoding='utf-8')
    with atomic_path(path) as unfinished, open(unfinished, **mode) as file:
        yield file


def write_json(
    content: Any, path: str | Path, indent: int | None = None, nan_as_null: bool = False
) -> None:
    """Write standard JSON (no NaN tokens) with :func:`atomic_write`.

    Args:
        content: Arrays and tensors in it become lists.
        path: The file.
        indent: Spaces per level; None writes one line.
        nan_as_null: Whether to write null for numbers that are NaN or infinite.

    Raises:
        ValueError: If a number is NaN or infinite and ``nan_as_null`` is False.
    """
    if nan_as_null:
        text = json.dumps(content, default=_as_list)
        content = json.loads(text, parse_constant=lambda _: None)
    with atomic_write(path) as file:
        json.dump(content, file, indent=indent, allow_nan=False, default=_as_list)
        file.write('\n' if indent else '')


def _as_list(value: Any) -> Any:
    if hasattr(value, 'tolist'):  # arrays and scalars of NumPy and PyTorch
        return value.tolist()
    raise TypeError(f'{type(value).__name__} cannot be written as JSON: {value!r}')
