"""The folder of a run: one run at a time, checkpoints that are complete or absent.

Importing this module makes mmengine's Runner write checkpoints atomically, and find the latest one
of a folder that was moved.
"""

import fcntl
from pathlib import Path
from typing import IO

import mmengine.runner.runner as mmengine_runner

from .atomic_write import atomic_path
from .logs import log_warning

_save_checkpoint = mmengine_runner.save_checkpoint


class FolderInUse(RuntimeError):
    """Another process works in the folder."""


def occupy(folder: str | Path, work: str = 'training', option: str = '--work-dir') -> IO:
    """Lock a folder against other runs, until the returned file is closed or the process ends.

    The lock belongs to this process; its data workers do not prolong it. The message names
    ``work``, what else is locked out, and ``option``, by which the user names the folder.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    file = open(Path(folder) / '.run.lock', 'a')  # noqa: SIM115
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise FolderInUse(
            f'{folder}: another {work} works in this folder; wait for it, stop it, or give another '
            f'{option}'
        ) from None
    except OSError as error:  # a file system without locks
        log_warning(
            f'{folder}: cannot be locked ({error.strerror}); run one {work} at a time in it'
        )
    return file


def latest_checkpoint(folder: str | Path) -> str | None:
    """Return the checkpoint that ``last_checkpoint`` names, within the folder if it is there.

    The file holds an absolute path, which in a moved or copied folder is that of another run, or of
    none.
    """
    file = Path(folder) / 'last_checkpoint'
    named = file.read_text().strip() if file.is_file() else ''
    own = Path(folder) / Path(named).name
    return str(own) if own.is_file() else named or None


def save_checkpoint(checkpoint: dict, filename: str, *args, **kwargs) -> None:
    """Save a checkpoint atomically with mmengine's function."""
    if '://' in str(filename):
        _save_checkpoint(checkpoint, filename, *args, **kwargs)
        return
    try:
        with atomic_path(filename) as unfinished:
            _save_checkpoint(checkpoint, str(unfinished), *args, **kwargs)
    except OSError as error:
        raise OSError(
            f'{filename}: the checkpoint cannot be written ({error.strerror or error}). Earlier '
            'checkpoints are intact: free some space and continue with --resume'
        ) from error


mmengine_runner.save_checkpoint = save_checkpoint
mmengine_runner.find_latest_checkpoint = latest_checkpoint
