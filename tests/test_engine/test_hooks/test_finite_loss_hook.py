import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook

from semidff.engine import FiniteLossHook, NonFiniteLossError
from tests.stage_two import config, run, write_videos


class Break(Hook):
    """Makes the weights useless ahead of an iteration."""

    def __init__(self, iteration, value):
        self.iteration, self.value = iteration, value

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            with torch.no_grad():
                runner.model.temporal.scale.bias.fill_(self.value)


@pytest.mark.parametrize('value', [float('nan'), 1e30])
def test_training_stops_before_the_damage_is_saved(tmp_path, value):
    cfg = config(write_videos(tmp_path / 'videos'), tmp_path / 'run')
    with pytest.raises(NonFiniteLossError) as error:
        run(cfg, Break(2, value))
    message = str(error.value)
    assert message.startswith('iteration 3: ') and 'loss_reg' in message
    assert 'clip0#' in message or 'clip1#' in message
    assert re.search(r'To resume from \S+/iter_2.pth with --resume, clip the gradient', message)
    assert 'to lower the learning rate, start again, since a resumed training keeps' in message
    assert not (tmp_path / 'run' / 'iter_3.pth').exists()
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
def test_weights_that_are_not_finite_are_not_saved(tmp_path, saved):
    """After iteration 1, and after iteration 3, the last one of its step."""
    cfg = config(write_videos(tmp_path / 'videos'), tmp_path / 'run')
    del cfg.optim_wrapper.paramwise_cfg  # a learning rate of 0 for this weight
    with pytest.raises(NonFiniteLossError) as error:
        run(cfg, BreakGradient(saved))
    message = str(error.value)
    assert message.startswith(f'iteration {saved + 1}: 1 of ')
    assert 'trained weights are not finite, first temporal.scale.bias' in message
    remedy = 'Start again with a lower' if saved == 0 else 'iter_2.pth with --resume'
    assert remedy in message
    names = {path.name for path in (tmp_path / 'run').glob('*.pth')}
    assert names == {f'iter_{n}.pth' for n in range(1, saved + 1)}


def test_a_step_that_ends_in_damage_is_not_kept(tmp_path):
    cfg = config(write_videos(tmp_path / 'videos'), tmp_path / 'run')
    with pytest.raises(NonFiniteLossError):
        run(cfg, Break(2, float('nan')))
    assert not (tmp_path / 'run' / 'regression.pth').exists()


def runner_at(iteration):
    """A runner that has saved nothing."""
    return SimpleNamespace(iter=iteration, message_hub=SimpleNamespace(runtime_info={}))


def test_healthy_training_is_left_alone():
    outputs = dict(loss=torch.tensor(1.0), accuracy=50.0)
    assert FiniteLossHook().after_train_iter(runner_at(0), 0, {}, outputs) is None


def test_only_a_loss_that_rises_tenfold_within_a_step_is_reported():
    warnings = []
    runner = runner_at(0)
    runner.logger = SimpleNamespace(warning=warnings.append)
    hook = FiniteLossHook()
    reported = []
    steps = [('loss_reg', (1.0, 0.1, 0.5)), ('loss_seg', (5.0, 0.02, 0.19, 0.3))]
    for name, means in steps:
        for mean in means:
            for _ in range(100):
                hook.after_train_iter(runner, 0, {}, {'loss': torch.tensor(mean), name: mean})
                runner.iter += 1
            reported.append(len(warnings))
    assert reported == [0, 0, 0, 0, 0, 0, 1]
    assert warnings[0].startswith('iteration 700: the loss is 0.3 ') and 'was 0.02 ' in warnings[0]


def test_every_part_of_the_loss_counts():
    """The total of inf and -inf parts may hide them, and a part may be logged without being in the total."""

    outputs = dict(
        loss=torch.tensor(1.0), loss_a=torch.tensor(float('inf')), loss_b=torch.tensor(2.0)
    )
    with pytest.raises(
        NonFiniteLossError, match='iteration 8: loss_a = inf on this batch.*Start again'
    ):
        FiniteLossHook().after_train_iter(runner_at(7), 7, {}, outputs)
