"""Files that are either complete or absent, and the JSON in them."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from uuid import uuid4


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Let a writer create a file that appears under its name when it is complete.

    On any exception, an interrupt included, the unfinished file is removed and an existing file is
    kept. Of several writers of a file, the last one wins. A killed process leaves a
    hidden file with ``.tmp`` in its name.

    Args:
        path: The file to create or replace; missing parent folders are created. Devices are written
            directly.

    Yields:
        A new name in the same folder with the same suffix, under which the content has to be
        written. The file is renamed at the end.
    """
    path = Path(os.path.realpath(path))  # a link stays one
    if path.exists() and not path.is_file():
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f'.{path.stem}.{uuid4().hex[:8]}.tmp{path.suffix}')
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        # After an error; or because renaming a link to another link of the same file does nothing
        # and leaves both.
        unfinished.unlink(missing_ok=True)


@contextmanager
def atomic_write(path: str | Path, binary: bool = False) -> Iterator[IO]:
    """Open a file that appears under its name when it is complete, see :func:`atomic_path`.

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
        nan_as_null: Whether to write null for numbers that are NaN or infinite, which are an error
            otherwise.
    """
    if nan_as_null:
        text = json.dumps(content, default=_as_list)
        content = json.loads(text, parse_constant=lambda _: None)
    with atomic_write(path) as file:
        json.dump(content, file, indent=indent, allow_nan=False, default=_as_list)
        file.write('\n' if indent else '')


def read_json(path: str | Path) -> Any:
    """Read standard JSON, without NaN; a ValueError names the file."""

    def refuse(constant: str) -> None:
        raise ValueError(f'{constant} is no number')

    try:
        return json.loads(Path(path).read_bytes(), parse_constant=refuse)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None


def _as_list(value: Any) -> Any:
    if hasattr(value, 'tolist'):  # arrays and scalars of NumPy and PyTorch
        return value.tolist()
    raise TypeError(f'{type(value).__name__} cannot be written as JSON: {value!r}')
