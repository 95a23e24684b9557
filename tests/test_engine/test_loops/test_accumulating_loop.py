"""Iterations of several batches: equal to one large batch, and resumable."""

import pytest
import torch
from mmengine.model import BaseModel
from torch import nn

from tests.tiny.training import Kill, config, differing, run, weights

PARTS = 3


class Line(BaseModel):
    """Mean squared distance of the frames' means from a line, which no part normalizes differently."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(1, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        means = torch.stack([pair.float().mean().reshape(1) for pair in inputs]) / 255
        return dict(loss=(self.line(means) - means.square()).square().mean())


def stage_one(videos, folder, batch_size, accumulate, **changes):
    """Config of four iterations of SGD with momentum; the rate drops after the second."""
    loop = dict(type='AccumulatingLoop', max_iters=4, accumulate=accumulate)
    cfg = config(videos, folder, batch_size=batch_size, **changes)
    cfg.model = dict(type=Line)
    cfg.train_cfg = loop
    cfg.optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
    cfg.param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[2])]
    return cfg


def test_parts_make_the_updates_of_the_whole_batch(videos, tmp_path):
    torch.manual_seed(0)
    whole = run(stage_one(videos, tmp_path / 'whole', 6, 1))
    parts = run(stage_one(videos, tmp_path / 'parts', 6, PARTS))
    assert parts.iter == whole.iter == 4
    assert parts.optim_wrapper.get_lr() == whole.optim_wrapper.get_lr()
    start = weights(tmp_path / 'whole' / 'iter_3.pth')
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(parts.model.state_dict()[name], value)
        assert not torch.equal(start[name], value)


def test_a_killed_run_continues_bit_by_bit(videos, tmp_path):
    """In the second step of a distillation."""

    def accumulated(folder, **changes):
        cfg = config(videos, tmp_path / folder, batch_size=2, **changes)
        cfg.train_cfg.accumulate = 2
        return cfg

    whole = run(accumulated('whole'))
    with pytest.raises(KeyboardInterrupt):
        run(accumulated('killed'), Kill(5))
    resumed = run(accumulated('killed', resume=True))
    assert resumed.iter == whole.iter == 6
    assert not differing(resumed.model.state_dict(), whole.model.state_dict())


def test_an_incomplete_batch_is_refused(videos, tmp_path):
    with pytest.raises(ValueError, match='train_cfg.accumulate=3 equal parts.*drop_last=True'):
        run(stage_one(videos, tmp_path, 4, PARTS))
