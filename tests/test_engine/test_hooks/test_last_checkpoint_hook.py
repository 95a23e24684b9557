"""``last.pth``, the result of a training under one name."""

import os
from pathlib import Path

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

import semidff.engine.hooks.last_checkpoint_hook as module


class Line(BaseModel):
    """One weight, pulled towards 1."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, value: torch.Tensor, mode: str = 'tensor') -> dict:
        return dict(loss=(self.weight * value - 1).square().mean())


def train(
    folder: Path,
    iters: int,
    resume: bool = False,
    cfg: dict | None = None,
    value: float = 1,
    load_from: str | None = None,
    **checkpoint,
) -> float:
    """Trains and returns the final weight."""
    runner = Runner(
        Line(),
        str(folder),
        train_dataloader=DataLoader([dict(value=torch.tensor([float(value)]))] * 10),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=iters),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, **checkpoint)),
        custom_hooks=[module.LastCheckpointHook()],
        log_processor=dict(by_epoch=False),
        default_scope='mmdet',
        resume=resume,
        load_from=load_from,
        cfg=cfg,
        experiment_name=f'{folder.name}_{os.urandom(4).hex()}',
    )
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


def test_a_second_training_replaces_it_and_the_same_one_may_end_twice(tmp_path):
    train(tmp_path, 2)
    final = train(tmp_path, 3)
    assert stored(tmp_path / 'last.pth') == (final, 3)
    train(tmp_path, 3)
    assert stored(tmp_path / 'last.pth') == (final, 3)
    assert not list(tmp_path.glob('.*.tmp*'))


def test_is_saved_where_the_final_iteration_has_no_checkpoint(tmp_path):
    final = train(tmp_path, 5, interval=2, save_last=False)
    assert not (tmp_path / 'iter_5.pth').exists()
    assert stored(tmp_path / 'last.pth') == (final, 5)


def test_is_no_checkpoint_of_an_earlier_training(tmp_path):
    earlier = train(tmp_path, 4)
    final = train(tmp_path, 4, interval=3, save_last=False, value=0.5)
    assert stored(tmp_path / 'iter_4.pth') == (earlier, 4)
    assert stored(tmp_path / 'last.pth') == (final, 4) and final != earlier


def test_is_a_copy_without_hard_links(tmp_path, monkeypatch):
    def refuse(source: Path, target: Path) -> None:
        raise OSError('no links here')

    monkeypatch.setattr(module.os, 'link', refuse)
    final = train(tmp_path, 2)
    assert not (tmp_path / 'last.pth').samefile(tmp_path / 'iter_2.pth')
    assert stored(tmp_path / 'last.pth') == (final, 2)


def test_does_not_appear_before_the_end(tmp_path, monkeypatch):
    replace = module.os.replace

    def stop(source: Path, target: Path) -> None:
        if Path(target).name == 'last.pth':
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(module.os, 'replace', stop)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, 2)
    assert (tmp_path / 'iter_2.pth').exists()
    assert not (tmp_path / 'last.pth').exists()
