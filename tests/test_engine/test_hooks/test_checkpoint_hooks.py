"""Checkpoints of a training: each stays until the next is complete; ``last.pth`` is the result."""

import os
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from mmengine.fileio import LocalBackend
from mmengine.model import BaseModel
from mmengine.runner import Runner, find_latest_checkpoint
from torch import nn
from torch.utils.data import DataLoader

from semidff.engine import CheckpointHook, LastCheckpointHook
from semidff.utils import run_folder


class Line(BaseModel):
    """One weight, pulled towards 1."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, value: torch.Tensor, mode: str = 'tensor') -> dict:
        return dict(loss=(self.weight * value - 1).square().mean())


def train(folder: Path, iters: int, options: dict | None = None, **checkpoint) -> float:
    """Trains, with options of the Runner and of the checkpoint hook; returns the final weight."""
    settings = dict(
        train_dataloader=DataLoader([dict(value=torch.ones(1))] * 10),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=iters),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, **checkpoint)),
        custom_hooks=[LastCheckpointHook()],
        log_processor=dict(by_epoch=False),
        default_scope='mmdet',
        experiment_name=f'{folder.name}_{os.urandom(4).hex()}',
    )
    runner = Runner(Line(), str(folder), **settings | (options or {}))
    runner.train()
    return runner.model.weight.item()


def stored(path: Path) -> tuple[float, int]:
    """Weight and iteration of a checkpoint."""
    checkpoint = torch.load(path, weights_only=False)
    return float(checkpoint['state_dict']['weight']), checkpoint['meta']['iter']


def test_is_a_hard_link_to_the_final_checkpoint(tmp_path):
    final = train(tmp_path, 5, interval=2, max_keep_ckpts=1)
    assert (tmp_path / 'last.pth').samefile(tmp_path / 'iter_5.pth')
    assert stored(tmp_path / 'last.pth') == (final, 5)
    assert not list(tmp_path.glob('.*.tmp*'))


def test_is_saved_where_the_final_iteration_has_no_checkpoint(tmp_path):
    final = train(tmp_path, 5, interval=2, save_last=False)
    assert not (tmp_path / 'iter_5.pth').exists()
    assert stored(tmp_path / 'last.pth') == (final, 5)


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
            Path(filename).write_bytes(b'half')
            raise OSError(28, 'No space left on device')
        save(checkpoint, filename, **options)

    monkeypatch.setattr(run_folder, '_save_checkpoint', full_at_3)
    message = r'iter_3\.pth: .*No space left on device.*Earlier checkpoints are intact'
    with pytest.raises(OSError, match=message):
        train(tmp_path, 5, interval=1, max_keep_ckpts=1)
    assert checkpoints(tmp_path) == {'iter_2.pth'}  # half a file would have a name with .pth, too
    assert find_latest_checkpoint(str(tmp_path)) == str(tmp_path / 'iter_2.pth')


def test_a_named_checkpoint_is_that_of_the_next_resume_too(tmp_path, monkeypatch):
    """The run is killed before its next checkpoint."""
    train(tmp_path, 5, interval=1)
    first = str(tmp_path / 'iter_2.pth')
    monkeypatch.setattr(CheckpointHook, 'after_train_iter', Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, 9, dict(resume=True, load_from=first), interval=1)
    assert run_folder.latest_checkpoint(tmp_path) == first


def test_what_a_killed_run_has_not_removed_is_removed_on_resuming(tmp_path, monkeypatch):
    whole = train(tmp_path / 'whole', 5, interval=1, max_keep_ckpts=1)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(LocalBackend, 'remove', Mock(side_effect=[None, KeyboardInterrupt]))
        train(tmp_path, 5, interval=1, max_keep_ckpts=1)
    assert checkpoints(tmp_path) == {'iter_1.pth', 'iter_2.pth', 'iter_3.pth'}
    assert train(tmp_path, 5, dict(resume=True), interval=1, max_keep_ckpts=1) == whole
    assert checkpoints(tmp_path) == {'last.pth', 'iter_1.pth', 'iter_5.pth'}


@pytest.mark.parametrize('resumed', [False, True])
def test_a_new_training_is_not_taken_for_the_earlier_one_of_its_folder(
    tmp_path, monkeypatch, resumed
):
    """It may end before its first checkpoint."""
    train(tmp_path, 2, interval=1)
    monkeypatch.setattr(CheckpointHook, 'after_train_iter', Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, 4, dict(resume=resumed), interval=1)
    latest = run_folder.latest_checkpoint(tmp_path)
    assert latest == (str(tmp_path / 'iter_2.pth') if resumed else None)
    assert (tmp_path / 'iter_2.pth').exists()
