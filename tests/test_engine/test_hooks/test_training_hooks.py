"""Non-finite losses, random numbers of an iteration, and the memory layout."""

import copy
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope

from semidff.engine import ChannelsLastHook, NonFiniteLossError, SeedHook
from semidff.engine.hooks import training_hooks
from tests.tiny import models
from tests.tiny.training import config, run


class Break(Hook):
    """Makes the weights useless ahead of an iteration."""

    def __init__(self, iteration, value):
        self.iteration, self.value = iteration, value

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            with torch.no_grad():
                runner.model.temporal.scale.bias.fill_(self.value)


@pytest.mark.parametrize('value', [float('nan'), 1e30])
def test_training_stops_before_the_damage_is_saved(videos, tmp_path, value):
    cfg = config(videos, tmp_path / 'run')
    with pytest.raises(NonFiniteLossError) as error:
        run(cfg, Break(2, value))
    message = str(error.value)
    assert message.startswith('iteration 3: ') and 'loss_reg' in message
    assert 'clip0#' in message or 'clip1#' in message
    assert 'Clip the gradient (optim_wrapper.clip_grad) and continue' in message
    for name in ('iter_3', 'regression'):
        assert not (tmp_path / 'run' / f'{name}.pth').exists()
    assert (tmp_path / 'run' / 'last_checkpoint').read_text().endswith('iter_2.pth')


class BreakGradient(Hook):
    """Makes a gradient NaN in an iteration with a finite loss."""

    def __init__(self, iteration):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            bias = runner.model.temporal.scale.bias
            bias.register_hook(lambda gradient: gradient * float('nan'))


@pytest.mark.parametrize('saved', [0, 2])
def test_weights_that_are_not_finite_are_not_saved(videos, tmp_path, saved):
    """After iteration 1, and after iteration 3, the last one of its step."""
    cfg = config(videos, tmp_path / 'run')
    del cfg.optim_wrapper.paramwise_cfg  # a learning rate of 0 for this weight
    with pytest.raises(NonFiniteLossError) as error:
        run(cfg, BreakGradient(saved))
    message = str(error.value)
    assert message.startswith(f'iteration {saved + 1}: 1 of ')
    assert 'trained weights are not finite, first temporal.scale.bias' in message
    names = {path.name for path in (tmp_path / 'run').glob('*.pth')}
    assert names == {f'iter_{n}.pth' for n in range(1, saved + 1)}


DRAWS = dict(
    torch=lambda: torch.rand(()).item(), numpy=lambda: np.random.rand(), python=random.random
)


@pytest.fixture(params=DRAWS)
def draw(request):
    """A function of seed, iteration and rank that draws a number."""
    return DRAWS[request.param]


def seeded(draw, seed: int, iteration: int):
    SeedHook().before_train_iter(SimpleNamespace(seed=seed, iter=iteration), iteration)
    return draw()


def test_function_of_seed_and_iteration(draw):
    first = seeded(draw, 0, 7)
    for _ in range(100):
        draw()
    assert seeded(draw, 0, 7) == first
    assert len({first, seeded(draw, 0, 8), seeded(draw, 1, 7), seeded(draw, 0, 6)}) == 4


def test_ranks_draw_different_numbers(draw, monkeypatch):
    drawn = []
    for rank in range(3):
        monkeypatch.setattr(training_hooks, 'get_rank', lambda rank=rank: rank)
        drawn.append(seeded(draw, 0, 7))
    assert len(set(drawn)) == 3


def test_roi_align_reads_the_same_maps():
    """mmcv's own takes channels-last maps for contiguous ones."""
    init_default_scope('mmdet')
    detector = MODELS.build(ConfigDict(models.faster_rcnn()))
    maps = [torch.rand(1, 16, 64 // s, 96 // s) for s in (4, 8, 16, 32)]
    rois = torch.tensor([[0, 4.0, 6.0, 40.0, 30.0], [0, 2.0, 2.0, 90.0, 60.0]])
    before = detector.roi_head.bbox_roi_extractor(maps, rois)
    for _ in range(2):
        ChannelsLastHook().before_run(SimpleNamespace(model=detector))
    mixed = [level.to(memory_format=torch.channels_last) for level in maps]
    assert torch.equal(detector.roi_head.bbox_roi_extractor(mixed, rois), before)
    assert len(detector.roi_head.bbox_roi_extractor._forward_pre_hooks) == 1


def test_a_resumed_optimizer_state_gets_the_layout_of_the_weights():
    """Without it, fused Adam applies each average to another weight, without an error."""
    torch.manual_seed(0)
    network = torch.nn.Conv2d(4, 4, 3)
    reference = torch.nn.Conv2d(4, 4, 3)
    reference.load_state_dict(network.state_dict())
    images = torch.rand(2, 4, 8, 8)

    def step(module, optimizer):
        optimizer.zero_grad()
        module(images).square().mean().backward()
        optimizer.step()

    plain = torch.optim.Adam(reference.parameters(), lr=0.1, fused=False)
    step(reference, plain)
    network.load_state_dict(reference.state_dict())
    resumed = torch.optim.Adam(network.parameters(), lr=0.1, fused=True)
    runner = SimpleNamespace(model=network, optim_wrapper=SimpleNamespace(optimizer=resumed))
    hook = ChannelsLastHook()
    hook.before_run(runner)
    state = copy.deepcopy(plain.state_dict())
    resumed.load_state_dict(dict(state, param_groups=resumed.state_dict()['param_groups']))
    hook.before_train(runner)
    step(reference, plain)
    step(network, resumed)
    assert torch.allclose(network.weight, reference.weight, atol=1e-5)
