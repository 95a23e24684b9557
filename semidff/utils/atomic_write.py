"""Files that are either complete or absent."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Let a writer that takes a path create a file that appears under its name only when it is complete.

    On any exception, an interrupt included, the unfinished file is removed and an existing file is kept. The next
    writer of the same file replaces what a killed process has left, and waits for one that is still writing.

    Args:
        path: The file to create or replace; missing parent folders are created. Devices are written directly.

    Yields:
        An empty file in the same folder with the same suffix, where the content has to be written. It is renamed at
        the end.
    """
    path = Path(os.path.realpath(path))  # a link stays one
    if path.exists() and not path.is_file():
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f'.{path.stem}.tmp{path.suffix}')
    with _only_writer(unfinished) as lock:
        try:
            yield unfinished
            os.replace(unfinished, path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        # Renaming a link to another link of the same file does nothing and leaves both. Otherwise the name is free, or
        # that of the next writer's file already.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), unfinished.stat()):
                unfinished.unlink()


def _only_writer(path: Path) -> IO:
    """Create an empty file and lock it, after other writers have renamed or removed theirs."""
    while True:
        file = open(path, 'ab')  # noqa: SIM115
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        own = os.fstat(file.fileno())
        with suppress(FileNotFoundError):
            if os.path.samestat(own, path.stat()):
                if not own.st_size:
                    return file
                path.unlink()  # of a killed process; it may be a link to another file
        file.close()


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
        indent: Spaces per level; None writes one line.
        nan_as_null: Whether to write null for numbers that are NaN or infinite, which are an error otherwise.
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
