"""The check of output files, before anything is written."""

from collections.abc import Iterable
from pathlib import Path

from .error_messages import FileError


def check_outputs(
    outputs: Iterable[str | Path | None],
    inputs: Iterable[str | Path | None] = (),
    overwrite: bool = True,
) -> None:
    """Check that no output is an input, another output or, without ``overwrite``, an existing file.

    Args:
        outputs: Files to write, or folders; None is ignored.
        inputs: Everything that is read.
        overwrite: Whether existing files, and files in existing folders, may be replaced.

    Raises:
        FileError: If one is.
    """
    taken = {Path(path).resolve(): f'the input {path}' for path in inputs if path}
    for path in map(Path, filter(None, outputs)):
        if (resolved := path.resolve()) in taken:
            raise FileError(f'{path}: would overwrite {taken[resolved]}; give another name')
        taken[resolved] = f'the output {path}'
        used = any(path.iterdir()) if path.is_dir() else path.is_file()
        if used and not overwrite:
            raise FileError(f'{path}: exists already; give another name, or --overwrite')
