"""One training per folder, and checkpoints that are complete or absent."""

import shutil
import subprocess
import sys
from pathlib import Path

import mmengine.runner.runner as mmengine_runner
import pytest
import torch

from semidff.utils import run_folder
from semidff.utils.run_folder import FolderInUse, latest_checkpoint, occupy, save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
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


def test_the_runner_saves_with_it(tmp_path):
    assert mmengine_runner.save_checkpoint is save_checkpoint
    save_checkpoint(dict(a=torch.ones(2)), str(tmp_path / 'a.pth'))
    assert [path.name for path in tmp_path.iterdir()] == ['a.pth']
    assert torch.equal(torch.load(tmp_path / 'a.pth')['a'], torch.ones(2))


def test_a_checkpoint_that_cannot_be_written_leaves_the_earlier_one(tmp_path, monkeypatch):
    save_checkpoint(dict(a=1), str(tmp_path / 'a.pth'))
    before = (tmp_path / 'a.pth').read_bytes()

    def full_disk(checkpoint, filename, **options):
        Path(filename).write_bytes(b'half')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(run_folder, '_save_checkpoint', full_disk)
    with pytest.raises(
        OSError, match=r'a\.pth: .*No space left on device.*Earlier checkpoints are intact'
    ):
        save_checkpoint(dict(a=2), str(tmp_path / 'a.pth'))
    assert (tmp_path / 'a.pth').read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ['a.pth']
