"""Two processes train stage two through its command-line tool."""

from pathlib import Path

import pytest
import torch

from tests.processes import run_in_group
from tests.tiny.training import STEPS, config, differing, run, weights, write_videos

# Every rank leaves its weights; checkpoints come from rank 0 alone.
HOOK = """
import os
import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook

@HOOKS.register_module()
class SaveRankHook(Hook):
    def after_train(self, runner):
        path = f'{runner.work_dir}/rank{os.environ["RANK"]}.pth'
        torch.save(dict(state_dict=runner.model.module.state_dict()), path)
"""


def train(folder: Path, cfg, nodes: int = 1) -> None:
    (folder / 'save_rank.py').write_text(HOOK)
    cfg.custom_imports.imports.append('save_rank')
    cfg.custom_hooks.append(dict(type='SaveRankHook'))
    path = folder / 'config.py'
    cfg.dump(path)
    run_in_group(folder, [['train.py', path]], nodes=nodes)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Folder of a run of two nodes of one process with two pairs each: one iteration per step."""
    folder = tmp_path_factory.mktemp('two_processes')
    videos = write_videos(folder / 'videos')
    steps = [dict(step, iters=1) for step in STEPS]
    train(folder, config(videos, folder / 'run', steps), nodes=2)
    return folder


def test_both_processes_end_with_the_same_weights(trained):
    first, second = (weights(trained / 'run' / f'rank{rank}.pth') for rank in (0, 1))
    assert not differing(first, second)
    assert not differing(first, weights(trained / 'run' / 'iter_2.pth'))
    after_step_one = weights(trained / 'run' / 'regression.pth')
    changed = differing(after_step_one, first)
    assert any(k.startswith('temporal.') for k in changed)
    assert any(k.startswith('spatial.detector.roi_head') for k in changed)
    assert not any('backbone' in k or k.startswith('teacher_task') for k in changed)


def test_units_of_the_correction_are_means_over_both_processes(tmp_path):
    """Their batches differ."""
    cfg = config(write_videos(tmp_path / 'videos'), tmp_path / 'run', [dict(STEPS[0], iters=1)])
    cfg.model.temporal.correction_width = 4
    train(tmp_path, cfg)
    first, second = (weights(tmp_path / 'run' / f'rank{rank}.pth') for rank in (0, 1))
    assert not differing(first, second)
    assert (first['temporal.correction.unit0'] != 1).all()


def test_two_processes_learn_what_one_with_the_whole_batch_learns(trained, tmp_path):
    steps = [dict(STEPS[0], iters=1)]
    run(config(trained / 'videos' / 'videos.txt', tmp_path, steps, batch_size=4))
    alone, together = weights(tmp_path / 'iter_1.pth'), weights(trained / 'run' / 'regression.pth')
    for key, value in alone.items():
        assert torch.allclose(value, together[key], rtol=1e-3, atol=1e-6), key
