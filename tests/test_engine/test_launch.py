"""What the tools set because of the machine."""

import os
import subprocess
import sys

import torch
from mmengine.config import Config

from semidff.engine.launch import adapt_to_machine
from tests.ports import free_port


def test_distributed_without_gpu_takes_gloo(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    cfg = Config(dict(env_cfg=dict(cudnn_benchmark=True, dist_cfg=dict(backend='nccl'))))
    adapt_to_machine(cfg, 'pytorch')
    assert cfg.launcher == 'pytorch'
    assert cfg.env_cfg.dist_cfg.backend == 'gloo'
    assert cfg.env_cfg.cudnn_benchmark


def test_single_process_changes_nothing_else():
    cfg = Config(dict(env_cfg=dict(dist_cfg=dict(backend='nccl'))))
    adapt_to_machine(cfg, 'none')
    assert cfg.launcher == 'none' and cfg.env_cfg.dist_cfg.backend == 'nccl'


THREADS = """
import atexit
from pathlib import Path

def names():
    return [path.read_text().strip() for path in Path('/proc/self/task').glob('*/comm')]

atexit.register(lambda: print(sum('gloo' in name for name in names())))

import torch
from mmengine.config import Config
from semidff.engine.launch import adapt_to_machine

adapt_to_machine(Config(dict()), 'pytorch')
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1))
model.itself = [model]
del model
print(sum('gloo' in name for name in names()))
"""


def test_the_groups_threads_end_before_the_process():
    """One that is left may abort the process: its exit status is then 134, after a finished run."""
    place = dict(RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(free_port()))
    done = subprocess.run(
        [sys.executable, '-c', THREADS],
        env={**os.environ, **place, 'CUDA_VISIBLE_DEVICES': ''},
        capture_output=True,
        text=True,
        check=True,
    )
    running, left = done.stdout.splitlines()[-2:]
    assert int(running) > 0 and int(left) == 0
