"""The folder of a run: one training at a time, checkpoints that are complete or absent, no input overwritten.

Importing this module makes mmengine's Runner write checkpoints atomically, find the latest one of a folder that was
moved, and keep the config that it read.
"""

import fcntl
import re
from pathlib import Path
from typing import IO

import mmengine.runner.runner as mmengine_runner
from mmengine.config import Config

from .atomic_write import atomic_path
from .error_messages import FileError
from .logs import log_warning
from .setting_checks import settings_of

_save_checkpoint = mmengine_runner.save_checkpoint
_dump_config = mmengine_runner.Runner.dump_config
_CHECKPOINT = re.compile(r'(iter|epoch)_\d+\.pth|last\.pth|best_.*\.pth|last_checkpoint')


def check_work_dir(cfg: Config) -> None:
    """Check that a training does not replace a checkpoint that it reads.

    Raises:
        FileError: If it would.
    """
    folder = Path(cfg.get('work_dir') or '.').resolve()
    steps = [f'{step.get("name")}.pth' for step in (cfg.get('train_cfg') or {}).get('steps', [])]
    for key, value in settings_of(cfg):
        if key.rpartition('.')[2] in ('load_from', 'checkpoint') and isinstance(value, str):
            path = Path(value)
            named = _CHECKPOINT.fullmatch(path.name) or path.name in steps
            if named and path.resolve().parent == folder:
                raise FileError(
                    f'{path}: is read by this training, which would replace it; give another --work-dir, or continue '
                    'with --resume'
                )


def dump_config(runner: mmengine_runner.Runner) -> None:
    """Write the config to the work folder, as mmengine does, but not over the file that it was read from."""
    source = runner.cfg.filename
    if source is None or Path(source).resolve().parent != Path(runner.work_dir).resolve():
        _dump_config(runner)


class FolderInUse(RuntimeError):
    """Another process works in the folder."""


def occupy(folder: str | Path, work: str = 'training', option: str = '--work-dir') -> IO:
    """Lock the folder of a training against other trainings, until the returned file is closed or the process ends.

    The lock belongs to this process; its data workers do not prolong it. Of a distributed run, only the first process
    calls this.

    Args:
        work: What else is locked out, for the message.
        option: How the user names the folder, for the message.

    Raises:
        FolderInUse: If another training works in the folder.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    file = open(Path(folder) / '.run.lock', 'a')  # noqa: SIM115
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise FolderInUse(
            f'{folder}: another {work} works in this folder; wait for it, stop it, or give another {option}'
        ) from None
    except OSError as error:  # a file system without locks
        log_warning(
            f'{folder}: cannot be locked ({error.strerror}); run one {work} at a time in it'
        )
    return file


def forget_earlier_run(folder: str | Path) -> None:
    """Let ``--resume`` not continue an earlier training of the folder in place of one that starts anew in it.

    The checkpoints of the earlier one remain until others of their names replace them.
    """
    (Path(folder) / 'last_checkpoint').unlink(missing_ok=True)


def latest_checkpoint(folder: str | Path) -> str | None:
    """Return the checkpoint that the file ``last_checkpoint`` names: that in the folder itself if there is one.

    The file holds an absolute path, which in a moved or copied folder is that of another run, or of none.
    """
    file = Path(folder) / 'last_checkpoint'
    if not file.is_file():
        return None
    named = file.read_text().strip()
    own = Path(folder) / Path(named).name
    return str(own) if own.is_file() else named


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
mmengine_runner.find_latest_checkpoint = latest_checkpoint
mmengine_runner.Runner.dump_config = dump_config
