"""The folder of an experiment: one run at a time, and no foreign results."""

import contextlib
import fcntl
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from semidff.utils.tool_files import OutputFolder, check_outputs

from .settings import ExperimentError

# Data workers of a killed training notice its end within 5 seconds.
LOCK_SECONDS = 10.0
RESULTS = ('table.md', 'table.json', 'table.png', 'curve.png', 'distance.png', 'rows', 'logs')


def _refuse_foreign(work_dir: Path) -> None:
    """Raise an error if a folder is a file, or has tables or pictures that no experiment wrote."""
    check_outputs([OutputFolder(work_dir)])
    present = [work_dir / name for name in RESULTS if (work_dir / name).exists()]
    if present and not (work_dir / '.lock').exists():
        raise ExperimentError(
            f'{present[0]}: exists already, in a folder that is not that of an experiment, and would be overwritten; '
            'choose another folder.'
        )


def _locked(file: IO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def exclusive(work_dir: Path) -> Iterator[int]:
    """Lock the folder against a second experiment, and let SIGTERM interrupt as Ctrl-C does.

    Steps inherit the lock. An experiment that was killed therefore holds it until the steps that it
    started have ended, which is waited for.
    """
    _refuse_foreign(work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + LOCK_SECONDS
    with (work_dir / '.lock').open('a') as file:
        while not _locked(file):
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f'another experiment, or a step that one left behind, still works in {work_dir}; '
                    'wait for it, stop it, or choose another folder.'
                )
            time.sleep(0.1)
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            yield file.fileno()
        finally:
            signal.signal(signal.SIGTERM, before)
