"""From which checkpoint and with which seed a training is resumed."""

from argparse import Namespace

import pytest
import torch
from mmengine.config import Config

from semidff.engine import training
from semidff.engine.launch import OptionError
from semidff.engine.resuming import apply_resume
from semidff.utils.run_folder import latest_checkpoint

STATE = dict(weight=torch.ones(1))


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint that ``last_checkpoint`` names."""
    path = tmp_path / 'iter_2.pth'
    torch.save(dict(state_dict=STATE, meta=dict(iter=2, epoch=0, seed=3)), path)
    (tmp_path / 'last_checkpoint').write_text(str(path))
    return path


def resume(cfg: Config, given: str | None, seed: int | None = None) -> bool:
    return apply_resume(cfg, Namespace(resume=given, seed=seed))


def test_without_a_checkpoint_load_from_stays(tmp_path):
    cfg = Config(dict(work_dir=str(tmp_path), load_from='stage_one.pth'))
    assert not resume(cfg, 'auto')
    assert cfg.load_from == 'stage_one.pth' and not cfg.resume


def test_checkpoints_of_an_earlier_training_alone_are_refused(tmp_path, checkpoint):
    (tmp_path / 'last_checkpoint').unlink()
    with pytest.raises(OptionError, match=r'has no checkpoint yet.*--resume .*iter_2\.pth'):
        resume(Config(dict(work_dir=str(tmp_path))), 'auto')
    assert resume(Config(dict(work_dir=str(tmp_path))), str(checkpoint))


def test_the_latest_checkpoint_replaces_load_from(tmp_path, checkpoint):
    cfg = Config(dict(work_dir=str(tmp_path), load_from='stage_one.pth'))
    assert resume(cfg, 'auto')
    assert cfg.load_from is None and cfg.resume


def test_a_named_checkpoint_or_that_of_the_config(tmp_path, checkpoint):
    cfg = Config(dict(work_dir='elsewhere'))
    assert resume(cfg, str(checkpoint))
    assert cfg.load_from == str(checkpoint) and cfg.resume
    again = Config(cfg.to_dict())
    assert resume(again, None)
    assert again.to_dict() == cfg.to_dict()
    assert not resume(Config(dict(load_from=str(checkpoint))), None)


def test_a_checkpoint_of_the_same_name_in_the_work_folder_is_not_mistaken(tmp_path, checkpoint):
    """Interrupted before its first checkpoint, the next --resume would continue that one."""
    (tmp_path / 'work').mkdir()
    (tmp_path / 'work' / checkpoint.name).write_bytes(b'')
    with pytest.raises(OptionError, match=f'has another {checkpoint.name}'):
        resume(Config(dict(work_dir=str(tmp_path / 'work'))), str(checkpoint))


def test_weights_alone_are_refused(tmp_path):
    torch.save(dict(state_dict=STATE), tmp_path / 'weights.pth')
    with pytest.raises(OptionError, match='weights.pth: holds weights, but no state of a training'):
        resume(Config(), str(tmp_path / 'weights.pth'))


@pytest.mark.parametrize('seed', [None, 3])
def test_the_seed_is_that_of_the_checkpoint(checkpoint, seed):
    cfg = Config(dict(randomness=dict(seed=0, deterministic=True)))
    assert resume(cfg, str(checkpoint), seed)
    assert cfg.randomness == dict(seed=3, deterministic=True)


def test_another_seed_is_refused(checkpoint):
    with pytest.raises(OptionError, match='--seed 4: .*iter_2.pth is of a training with seed 3'):
        resume(Config(), str(checkpoint), 4)


@pytest.mark.parametrize('resumed', [False, True])
def test_a_new_training_is_not_taken_for_the_earlier_one_of_its_folder(
    tmp_path, checkpoint, monkeypatch, resumed
):
    """It may end before its first checkpoint."""
    cfg = Config(dict(work_dir=str(tmp_path), resume=resumed, launcher='none'))
    found = []
    runner = Namespace(train=lambda: found.append(latest_checkpoint(tmp_path)))
    monkeypatch.setattr(training, 'prepare_run', lambda args: cfg)
    monkeypatch.setattr(training, 'apply_train_options', lambda cfg, args: None)
    monkeypatch.setattr(training.Runner, 'from_cfg', lambda cfg: runner)
    with monkeypatch.context() as broken:  # such as data that are missing

        def fail(cfg):
            raise FileNotFoundError

        broken.setattr(training.Runner, 'from_cfg', fail)
        with pytest.raises(FileNotFoundError):
            training.run_training(Namespace())
    assert latest_checkpoint(tmp_path) == str(checkpoint)
    training.run_training(Namespace())
    assert found == [str(checkpoint) if resumed else None]
    assert checkpoint.exists()
