"""One training per folder, and the latest checkpoint of a folder that was moved."""

import shutil
import subprocess
import sys

import pytest

from semidff.utils import run_folder
from semidff.utils.run_folder import FolderInUse, latest_checkpoint, occupy

OTHER = """
import fcntl, sys, time
with open(sys.argv[1], 'a') as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print('locked', flush=True)
    time.sleep(60)
"""


def test_a_second_run_in_a_folder_is_refused_until_the_first_ends(tmp_path):
    with occupy(tmp_path):
        pass
    with subprocess.Popen(
        [sys.executable, '-c', OTHER, str(tmp_path / '.run.lock')], stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        with pytest.raises(FolderInUse, match='another training works in this folder'):
            occupy(tmp_path)
        other.kill()
        other.wait()
    occupy(tmp_path).close()


def test_a_file_system_without_locks_is_used(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(38, 'Function not implemented')

    monkeypatch.setattr(run_folder.fcntl, 'lockf', refuse)
    occupy(tmp_path).close()


def test_the_latest_checkpoint_of_a_moved_folder_is_its_own(tmp_path):
    old, new = tmp_path / 'old', tmp_path / 'new'
    old.mkdir()
    assert latest_checkpoint(old) is None
    (old / 'iter_2.pth').touch()
    (old / 'last_checkpoint').write_text(str(old / 'iter_2.pth'))
    assert latest_checkpoint(old) == str(old / 'iter_2.pth')
    shutil.copytree(old, new)
    assert latest_checkpoint(new) == str(new / 'iter_2.pth')
    (new / 'iter_2.pth').unlink()  # as with CheckpointHook's out_dir
    assert latest_checkpoint(new) == str(old / 'iter_2.pth')
