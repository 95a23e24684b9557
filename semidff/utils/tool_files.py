"""Files that tools read and write: marks of their options, and checks before anything is written.

An option declares its role by its ``type``, for example ``parser.add_argument('--out', type=OutputFile)``.
:func:`~semidff.utils.arguments.run_tool` checks all files of a tool before it starts.
"""

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

_LARGEST_REPORT = 1 << 24  # bytes
# Keys of the reports that the tools write, and the prefixes of metrics.
_REPORT_KEYS = {
    'mAP', 'AP', 'fps', 'runs', 'rows', 'parts', 'points', 'tolerances', 'detectors',
}  # fmt: skip
_METRIC = re.compile(r'[\w-]+/\w')
_DETECTION = re.compile(rb'(\d+ \d+ [^ \n]+( [^ \n]+){4}\n|$)')
# Files that are read where the input is a folder.
_READ_IN_FOLDERS = {
    '.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.xml',
}  # fmt: skip

_outputs: ContextVar[tuple[str, ...]] = ContextVar('outputs', default=())
_overwrite: ContextVar[bool] = ContextVar('overwrite', default=True)
_own_folder: ContextVar[str | None] = ContextVar('own_folder', default=None)


class FileError(ValueError):
    """A file that a tool must not read or write."""


class InputFile(str):
    """File or folder that a tool reads."""


class CheckpointFile(InputFile):
    """Checkpoint that a tool reads."""


class OutputFile(str):
    """File that a tool writes."""


class OutputVideo(OutputFile):
    """Video that a tool writes, or a folder for videos that are named after the inputs."""


class OutputFolder(OutputFile):
    """Folder for files that a tool writes."""


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


@contextmanager
def writing(
    outputs: Iterable[str | Path], overwrite: bool, own_folder: str | None = None
) -> Iterator[None]:
    """Declare the outputs of a tool while the context lasts, for :func:`check_inputs` and :func:`check_new`.

    Args:
        overwrite: Whether existing files may be replaced.
        own_folder: Work folder of the run.
    """
    values = {
        _outputs: tuple(map(str, outputs)), _overwrite: overwrite, _own_folder: own_folder
    }  # fmt: skip
    tokens = {variable: variable.set(value) for variable, value in values.items()}
    try:
        yield
    finally:
        for variable, token in tokens.items():
            variable.reset(token)


def check_inputs(paths: Iterable[str | Path]) -> None:
    """Raise :class:`FileError` if a file that will be read, or a file in a folder, is an output of the tool."""
    if outputs := [path for path in _outputs.get() if os.path.exists(path)]:
        check_outputs(map(OutputVideo, outputs), paths)


def check_new(path: str | Path) -> None:
    """Raise :class:`FileError` if a file of an output folder exists and ``--overwrite`` is not given.

    Videos in a folder below the run's own work folder are replaced. Python callers replace existing files.
    """
    check_outputs([path], overwrite=_overwrite.get(), own_folder=_own_folder.get())


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
        FileError: If an output is also an input or another output, is no regular file, cannot be created, or exists
            already.
    """
    inputs = list(filter(None, inputs))
    taken = {key: f'the input {path}' for path in inputs for key in _keys(path)}
    folders = [os.path.realpath(path) for path in inputs if os.path.isdir(path)]
    for path in filter(None, outputs):
        check_regular(path)
        keys = _keys(path)
        for key in keys & taken.keys():
            raise FileError(
                f'{path}: would overwrite {taken[key]}; give another name for the output'
            )
        taken |= dict.fromkeys(keys, f'the output {path}')
        _check_place(path)
        if not Path(path).is_file():
            continue
        if Path(path).suffix.lower() in _READ_IN_FOLDERS:
            inside = [
                folder for folder in folders if Path(folder) in Path(os.path.realpath(path)).parents
            ]
            if inside:
                raise FileError(
                    f'{path}: would overwrite a file of the input {inside[0]}; give another name for the output'
                )
        if not overwrite and not _may_replace(path, own_folder):
            raise FileError(
                f'{path}: exists already; give another name, or --overwrite to replace it'
            )


def _check_place(path: str | Path) -> None:
    """Raise :class:`FileError` if an output has the name of a folder or cannot be created in its folder."""
    file = Path(path)
    if isinstance(path, OutputFolder):
        if file.exists() and not file.is_dir():
            raise FileError(f'{path}: is a file; give the name of a folder')
    elif file.is_dir() and (file.suffix == '.mp4' or not isinstance(path, OutputVideo)):
        raise FileError(f'{path}: is a folder; give the name of a file')
    above = next(folder for folder in file.absolute().parents if folder.exists())
    if not above.is_dir():
        raise FileError(f'{path}: cannot be written, since {above} is not a folder')
    # Existing files are replaced, not written to.
    if not file.is_dir() and not os.access(above, os.W_OK):
        raise FileError(f'{path}: cannot be written, since {above} is write-protected')


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
    above = file.resolve().parents
    if not own_folder or Path(own_folder).resolve() not in above:
        return False
    rendered = file.suffix == '.mp4' and above[0] != Path(own_folder).resolve()
    return rendered or (file.suffix == '.txt' and _is_detections(file))


def _is_detections(file: Path) -> bool:
    """Return whether a file begins with a line of the ILSVRC format."""
    with open(file, 'rb') as opened:
        return bool(_DETECTION.match(opened.readline(1000)))


def _is_report(file: Path) -> bool:
    """Return whether a file is a report of one of the tools."""
    if file.stat().st_size > _LARGEST_REPORT:
        return False
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and any(
        key in _REPORT_KEYS or _METRIC.match(key) for key in content
    )
