"""Names of files: in the package, for results of videos, and of outputs."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from .error_messages import FileError

# In a checkout links to the folders configs/ and tools/ themselves.
PROJECT = Path(__file__).resolve().parents[1] / '.mim'


def installed_file(path: str | Path) -> str:
    """Return the path of a config or tool: the path itself if it exists, else in the package.

    ``semidff::dff/dff_r101-original.py`` is ``configs/dff/dff_r101-original.py`` of the package.
    """
    name = str(path)
    if name.startswith('semidff::'):
        return str(PROJECT / 'configs' / name.removeprefix('semidff::'))
    inside = PROJECT / name
    is_own = Path(name).exists() or Path(name).is_absolute() or not inside.is_file()
    return name if is_own else str(inside)


def without_secrets(address: object) -> str:
    """Return an address without what may be secret: user name, password and query; a path as it is.

    Cameras have passwords in paths, too (``/user=admin&password=...``). Where a password may have a
    ``?``, the whole address is left out.
    """
    scheme, separator, rest = str(address).partition('://')
    if not separator:
        return str(address)
    place, _, query = re.sub('[?#]', '?', rest).partition('?')
    place = '...' if '@' in query else re.sub('/[^/]*=.*', '', place.rpartition('@')[2])
    return f'{scheme}://{place}'


def file_state(path: str | Path) -> list[int]:
    """Return size and time of change (ns) of a file or folder; nothing if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


def unique_name(name: str, taken: set[str]) -> str:
    """Return a new file name for a video and add it to ``taken``; slashes become underscores."""
    given, name = name, str(name).strip('/').replace('/', '_')
    if name in ('', '.', '..'):
        raise ValueError(f'a video has the name {given!r}, which no file can have: rename it')
    names = (f'{name}_{n}' if n else name for n in range(len(taken) + 1))
    taken.add(name := next(one for one in names if one not in taken))
    return name


def check_outputs(
    outputs: Iterable[str | Path | None],
    inputs: Iterable[str | Path | None] = (),
    overwrite: bool = True,
) -> None:
    """Raise :class:`FileError` if an output would replace an input or another file.

    Outputs are files, or folders, whose files may be replaced; None is ignored.
    """
    taken = {Path(path).resolve(): f'the input {path}' for path in inputs if path}
    for path in map(Path, filter(None, outputs)):
        if (resolved := path.resolve()) in taken:
            raise FileError(f'{path}: would overwrite {taken[resolved]}; give another name')
        taken[resolved] = f'the output {path}'
        used = any(path.iterdir()) if path.is_dir() else path.is_file()
        if used and not overwrite:
            raise FileError(f'{path}: exists already; give another name, or --overwrite')
