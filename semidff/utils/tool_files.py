"""Files that tools read and write: marks of their options, and checks before anything is written.

An option declares its role by its ``type``, for example ``parser.add_argument('--out', type=OutputFile)``.
:func:`~semidff.utils.arguments.run_tool` checks all files of a tool before it starts.
"""

import json
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_LARGEST_REPORT = 1 << 24  # bytes
_DATA = {'images', 'annotations', 'categories', 'videos'}


class FileError(ValueError):
    """A file that a tool must not read or write."""


class InputFile(str):
    """File or folder that a tool reads."""


class CheckpointFile(InputFile):
    """Checkpoint that a tool reads."""


class OutputFile(str):
    """File that a tool writes, or a folder for files that are named after the inputs."""


class ReportFile(OutputFile):
    """JSON report that a tool writes; one of an earlier run is replaced."""


def marked(values: Any, mark: type) -> Iterator[str]:
    """Yield the strings of type ``mark`` in nested lists and tuples."""
    if isinstance(values, mark):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from marked(value, mark)


def unmarked(value: Any) -> Any:
    """Return a copy of a value in which plain strings replace the marked ones."""
    if isinstance(value, InputFile | OutputFile):
        return str(value)
    if type(value) in (list, tuple):
        return type(value)(map(unmarked, value))
    return value


def check_name(path: str | Path) -> None:
    """Raise :class:`FileError` if a name is not UTF-8, on which decoders crash, or has a null byte."""
    name = str(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise FileError(f'{name!a}: the name is not UTF-8; rename the file') from None
    if '\0' in name:
        raise FileError(f'{name!a}: the name has a null byte')


def check_regular(path: str | Path) -> None:
    """Raise :class:`FileError` for a pipe, socket or device, on which reading may never end."""
    check_name(path)
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return  # reported where it is opened
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise FileError(f'{path}: is neither a file nor a folder but a pipe, socket or device')


def check_outputs(
    outputs: Iterable[str | Path | None],
    inputs: Iterable[str | Path | None] = (),
    overwrite: bool = True,
    own_folder: str | Path | None = None,
) -> None:
    """Check that no output destroys an input, another output or a file of somebody else.

    Names are compared after links are resolved, existing files also by their inode.

    Args:
        outputs: Files to write, or folders; None is ignored.
        inputs: Everything that is read.
        overwrite: Whether existing files may be replaced. If not, only empty files, earlier reports
            (:class:`ReportFile`) and detections in ``own_folder`` are.
        own_folder: Work folder of the run.

    Raises:
        FileError: If an output is also an input or another output, is no regular file, or exists already.
    """
    taken = {key: f'the input {path}' for path in filter(None, inputs) for key in _keys(path)}
    for path in filter(None, outputs):
        check_regular(path)
        keys = _keys(path)
        for key in keys & taken.keys():
            raise FileError(
                f'{path}: would overwrite {taken[key]}; give another name for the output'
            )
        taken |= dict.fromkeys(keys, f'the output {path}')
        if Path(path).is_dir() and Path(path).suffix:
            raise FileError(f'{path}: is a folder; give the name of a file')
        if not overwrite and Path(path).is_file() and not _may_replace(path, own_folder):
            raise FileError(
                f'{path}: exists already; give another name, or --overwrite to replace it'
            )


def _keys(path: str | Path) -> set:
    """Return what identifies a file: its resolved name and, if it exists, device and inode."""
    check_name(path)
    keys: set = {os.path.realpath(path)}
    try:
        status = os.stat(path)
    except OSError:
        return keys
    return keys | {(status.st_dev, status.st_ino)}


def _may_replace(path: str | Path, own_folder: str | Path | None) -> bool:
    file = Path(path)
    if not file.stat().st_size:
        return True
    if isinstance(path, ReportFile):
        return _is_report(file)
    inside = own_folder and Path(own_folder).resolve() in file.resolve().parents
    return bool(inside) and file.suffix == '.txt'


def _is_report(file: Path) -> bool:
    """Return whether a file is a JSON object other than annotations."""
    if file.stat().st_size > _LARGEST_REPORT:
        return False
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and not _DATA & content.keys()
