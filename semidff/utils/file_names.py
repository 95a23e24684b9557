"""Names of files and folders after names that a user's data gives, and what tells that a file has changed."""

import os
from pathlib import Path


def file_state(path: str | Path) -> list[int]:
    """Return size and time of change (ns) of a file or folder, nothing if there is none or it cannot be looked at."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return []
    return [status.st_size, status.st_mtime_ns]


def unique_name(name: str, taken: set[str]) -> str:
    """Return a file name for a video and add it to those taken; slashes become underscores.

    Raises:
        ValueError: If the name is empty, '.' or '..', which name no file of their own.
    """
    given, name = name, str(name).strip('/').replace('/', '_')
    if name in ('', '.', '..'):
        raise ValueError(f'a video has the name {given!r}, which no file can have: rename it')
    names = (f'{name}_{n}' if n else name for n in range(len(taken) + 1))
    taken.add(name := next(one for one in names if one not in taken))
    return name
