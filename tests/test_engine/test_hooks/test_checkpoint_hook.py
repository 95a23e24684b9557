"""The last checkpoint stays until the next one is complete."""

import shutil
from pathlib import Path
from unittest.mock import Mock

import pytest
from mmengine.runner import find_latest_checkpoint

from semidff.engine import CheckpointHook
from semidff.utils import run_folder
from tests.test_engine.test_hooks.test_last_checkpoint_hook import train


def checkpoints(folder: Path) -> set[str]:
    return {path.name for path in folder.glob('*.pth')}


@pytest.mark.parametrize('keep', [1, 2])
def test_old_checkpoints_are_removed(tmp_path, keep):
    train(tmp_path, 5, interval=1, max_keep_ckpts=keep)
    assert checkpoints(tmp_path) == {'last.pth', *(f'iter_{n}.pth' for n in range(6 - keep, 6))}
    assert find_latest_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_5.pth')


def test_a_failure_to_save_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    save = run_folder._save_checkpoint

    def full_at_3(checkpoint, filename, **options):
        if 'iter_3' in filename:
            raise OSError(28, 'No space left on device')
        save(checkpoint, filename, **options)

    monkeypatch.setattr(run_folder, '_save_checkpoint', full_at_3)
    with pytest.raises(OSError, match='iter_3.pth: the checkpoint cannot be written'):
        train(tmp_path, 5, interval=1, max_keep_ckpts=1)
    assert checkpoints(tmp_path) == {'iter_2.pth'}
    assert find_latest_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_2.pth')


def test_a_copied_run_continues_from_its_own_checkpoint(tmp_path):
    train(tmp_path / 'first', 2, interval=1)
    shutil.copytree(tmp_path / 'first', tmp_path / 'copy')
    (tmp_path / 'first' / 'iter_2.pth').write_bytes(b'of another run')
    whole = train(tmp_path / 'whole', 4, interval=1)
    assert train(tmp_path / 'copy', 4, resume=True, interval=1) == whole


def test_a_named_checkpoint_is_that_of_the_next_resume_too(tmp_path, monkeypatch):
    """The run is killed before its next checkpoint."""
    train(tmp_path, 5, interval=1)
    first = str(tmp_path / 'iter_2.pth')
    monkeypatch.setattr(CheckpointHook, 'after_train_iter', Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, 9, resume=True, load_from=first, interval=1)
    assert run_folder.latest_checkpoint(tmp_path) == first


def test_what_a_killed_run_has_not_removed_is_removed_on_resuming(tmp_path, monkeypatch):
    whole = train(tmp_path / 'whole', 5, interval=1, max_keep_ckpts=1)

    remove = CheckpointHook._remove

    def killed(self, step):
        if step == 2:
            raise KeyboardInterrupt
        remove(self, step)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(CheckpointHook, '_remove', killed)
        train(tmp_path, 5, interval=1, max_keep_ckpts=1)
    assert checkpoints(tmp_path) == {'iter_2.pth', 'iter_3.pth'}
    assert train(tmp_path, 5, resume=True, interval=1, max_keep_ckpts=1) == whole
    assert checkpoints(tmp_path) == {'last.pth', 'iter_5.pth'}


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(train_dataloader=dict(batch_size=2)), 'images_per_iteration 1, not 2'),
        (dict(optim_wrapper=dict(type='AmpOptimWrapper')), 'optim_wrapper OptimWrapper, not Amp'),
    ],
)
def test_another_batch_or_precision_is_refused_on_resuming(tmp_path, changes, message):
    train(tmp_path, 2, interval=1)
    with pytest.raises(ValueError, match=message):
        train(tmp_path, 4, resume=True, cfg=changes, interval=1)
