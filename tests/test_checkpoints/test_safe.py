"""No checkpoint file runs code, and those of the Runner load."""

import os
import pickle
import sys
from argparse import Namespace
from collections import defaultdict
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader

from semidff.checkpoints.read import read_checkpoint
from semidff.checkpoints.safe import CheckpointError, safe_loading
from tests.processes import call
from tests.test_engine.test_hooks.test_checkpoint_hooks import train
from tests.tiny.training import config, write_videos

ROOT = Path(__file__).resolve().parents[2]


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


class Reach:
    """Reaches a function's globals from a class that is allowed."""

    def __reduce__(self):
        return getattr, (HistoryBuffer, '__init__')


def pickled(content, file):
    with open(file, 'wb') as opened:
        pickle.dump(content, opened, protocol=2)


FORMATS = {
    'zip': torch.save,
    'legacy': lambda *args: torch.save(*args, _use_new_zipfile_serialization=False),
    'pickle': pickled,
}


@pytest.fixture(params=FORMATS)
def malicious(request, tmp_path):
    """A checkpoint whose loading would create the folder ``touched``."""
    path, content = tmp_path / 'bad.pth', dict(state_dict=dict(a=Touch(tmp_path / 'touched')))
    FORMATS[request.param](content, path)
    return path


def test_code_in_a_checkpoint_does_not_run(malicious):
    with pytest.raises(CheckpointError, match=r'bad\.pth: refused.*mkdir.*state_dict alone'):
        read_checkpoint(malicious)
    assert not (malicious.parent / 'touched').exists()


@pytest.mark.parametrize('module', ['ultralytics.nn.tasks', 'models.yolo'])
def test_a_model_of_another_program_is_named_as_what_it_is(tmp_path, monkeypatch, module):
    kind = type('DetectionModel', (torch.nn.Module,), dict(__module__=module))
    packages = [module[:n] for n, letter in enumerate(module + '.') if letter == '.']
    with monkeypatch.context() as patch:
        for package in packages:
            patch.setitem(sys.modules, package, ModuleType(package))
        sys.modules[module].DetectionModel = kind
        torch.save(dict(epoch=3, model=kind()), tmp_path / 'yolo.pt')
    with pytest.raises(CheckpointError, match=rf'{module}.*state_dict alone') as caught:
        read_checkpoint(tmp_path / 'yolo.pt')
    assert 'trust' not in str(caught.value)


def test_threads_load_at_the_same_time(tmp_path):
    """mmengine removes the classes that it has allowed, while others load."""
    torch.save(dict(state_dict=dict(a=torch.ones(1)), meta=dict(a=np.array([1]))), tmp_path / 'a')
    with safe_loading():
        CheckpointLoader.load_checkpoint(str(tmp_path / 'a'), 'cpu')
        assert torch.load(tmp_path / 'a')['meta']['a'] == [1]


def test_mmengines_loader_does_not_fall_back_to_unsafe_unpickling(malicious):
    with safe_loading(), pytest.raises(UnpicklingError, match='mkdir'):
        CheckpointLoader.load_checkpoint(str(malicious), 'cpu')
    assert not (malicious.parent / 'touched').exists()


def test_the_end_of_one_context_does_not_disarm_another(malicious):
    """As of two threads that load at the same time."""
    with ExitStack() as second:
        with safe_loading():
            second.enter_context(safe_loading())
        with pytest.raises(UnpicklingError, match='mkdir'):
            torch.load(malicious, weights_only=False)
    assert 'TORCH_FORCE_WEIGHTS_ONLY_LOAD' not in os.environ


@pytest.mark.parametrize('key', ['load_from', 'resume'])
def test_the_tool_refuses_it(tmp_path, key):
    torch.save(dict(state_dict=dict(a=Touch(tmp_path / 'touched'))), tmp_path / 'bad.pth')
    cfg = config(write_videos(tmp_path), tmp_path / 'out')
    cfg.load_from, cfg.resume = str(tmp_path / 'bad.pth'), key == 'resume'
    cfg.dump(tmp_path / 'config.py')
    with pytest.raises(SystemExit, match=r'tools/train\.py: error: .*refused.*mkdir'):
        call('train.py', tmp_path / 'config.py')
    assert not (tmp_path / 'touched').exists()


def test_getattr_reaches_only_known_methods(tmp_path):
    torch.save(dict(a=Reach()), tmp_path / 'bad.pth')
    for _ in range(3):  # mmengine's own list of allowed classes has getattr
        with pytest.raises(CheckpointError, match='refused, because it holds getattr'):
            read_checkpoint(tmp_path / 'bad.pth')


def test_downloads_are_read_in_the_same_way(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    (tmp_path / 'hub' / 'checkpoints').mkdir(parents=True)
    torch.save(dict(a=Touch(tmp_path / 'touched')), tmp_path / 'hub' / 'checkpoints' / 'bad.pth')
    with pytest.raises(CheckpointError, match=r'https://nowhere/bad\.pth: refused'):
        read_checkpoint('https://nowhere/bad.pth')
    assert not (tmp_path / 'touched').exists()
    torch.save(dict(a=torch.ones(2)), tmp_path / 'hub' / 'checkpoints' / 'good.pth')
    assert torch.equal(read_checkpoint('https://nowhere/good.pth')[0]['a'], torch.ones(2))
    with pytest.raises(CheckpointError, match=r'none\.pth: cannot be read or downloaded'):
        read_checkpoint('https://nowhere.invalid/none.pth')


def test_harmless_classes_and_logged_scalars_load(tmp_path):
    content = dict(
        path=Path('a/b'),
        time=datetime(2026, 1, 2, 3),
        options=Namespace(lr=0.1),
        counts=defaultdict(int, a=3),
        scalars=(np.float64(3), np.int64(4), np.float32(5)),
        names=['a'],
    )
    meta = dict(content, names=np.array(['a']), hub=HistoryBuffer([1.0, 2.0], [1, 1]))
    torch.save(dict(state_dict=dict(a=torch.ones(2)), meta=meta), tmp_path / 'a.pth')
    loaded = read_checkpoint(tmp_path / 'a.pth')[1]
    assert loaded.pop('hub').mean() == 1.5
    assert dict(loaded, names=loaded['names'].tolist()) == content


def test_a_checkpoint_of_version_0_1_is_resumed(tmp_path):
    """It was written by version 0.1.0 of this package (mmengine 0.10.12) after iteration 3 of 6.

    Its one-cycle schedule is stored with a reference to its annealing function.
    """

    schedule = dict(type='OneCycleLR', eta_max=0.1, total_steps=6, by_epoch=False)
    adam = dict(optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1)), param_scheduler=schedule)

    def trained(folder, **options):
        train(tmp_path / folder, 6, adam | options, interval=1, max_keep_ckpts=4)
        with safe_loading():
            return torch.load(tmp_path / folder / 'iter_6.pth')

    stored = ROOT / 'tests' / 'data' / 'line_iter_3.pth'
    whole, resumed = trained('whole'), trained('resumed', load_from=str(stored), resume=True)
    assert not (tmp_path / 'resumed' / 'iter_3.pth').exists()
    assert torch.equal(resumed['state_dict']['weight'], whole['state_dict']['weight'])
    for key in ('optimizer', 'param_schedulers'):
        assert str(resumed[key]) == str(whole[key])
    keep = resumed['message_hub']['runtime_info']['keep_ckpt_ids']
    assert keep == [1, 2, 3, 4, 5, 6][-len(keep) :]
