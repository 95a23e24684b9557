"""The folder of a training: one run at a time, and checkpoints that are complete or absent.

Importing this module makes mmengine's Runner write checkpoints atomically.
"""

import fcntl
from pathlib import Path
from typing import IO

import mmengine.runner.runner as mmengine_runner
from mmengine.dist import is_main_process

from .atomic_write import atomic_path

_save_checkpoint = mmengine_runner.save_checkpoint


class FolderInUse(RuntimeError):
    """Another training works in the folder."""


def occupy(folder: str | Path) -> IO | None:
    """Lock the folder of a training against other trainings, until the returned file is closed or the process ends.

    The lock belongs to this process; its data workers do not prolong it. Returns None in other processes than the
    first one of a distributed run.

    Raises:
        FolderInUse: If another training works in the folder.
    """
    if not is_main_process():
        return None
    Path(folder).mkdir(parents=True, exist_ok=True)
    file = open(Path(folder) / '.run.lock', 'a')  # noqa: SIM115
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise FolderInUse(
            f'{folder}: another training works in this folder; wait for it, stop it, or give another --work-dir'
        ) from None
    return file


def save_checkpoint(checkpoint: dict, filename: str, *args, **kwargs) -> None:
    """Save a checkpoint with mmengine's function under a name that appears when the file is complete.

    Raises:
        OSError: If it cannot be written; earlier checkpoints remain.
    """
    if '://' in str(filename):
        _save_checkpoint(checkpoint, filename, *args, **kwargs)
        return
    try:
        with atomic_path(filename) as unfinished:
            _save_checkpoint(checkpoint, str(unfinished), *args, **kwargs)
    except OSError as error:
        raise OSError(
            f'{filename}: the checkpoint cannot be written ({error.strerror or error}). Earlier checkpoints are '
            'intact: free some space and continue with --resume'
        ) from error


mmengine_runner.save_checkpoint = save_checkpoint
