import shutil

import pytest
import torch
from mmengine.hooks import Hook

from semidff.engine import optimizers
from semidff.engine.steps import runs
from tests.tiny.models import video_config
from tests.tiny.training import ITERS, STEPS, Kill, config, differing, run, weights

TOTAL = sum(ITERS)


class Diary(Hook):
    """Notes how each iteration is made."""

    def __init__(self):
        self.rows = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        # Schedules go on after the iteration.
        self.rate = max(group['lr'] for group in runner.optim_wrapper.optimizer.param_groups)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        optimizer = runner.optim_wrapper.optimizer
        learning = {n.split('.')[0] for n, p in runner.model.named_parameters() if p.requires_grad}
        losses = {k for k in outputs if k.startswith('loss_')}
        frames = [(s.img_path, s.key_frame_id) for s in data_batch['data_samples']]
        self.rows.append((type(optimizer).__name__, learning, losses, self.rate, frames))


@pytest.fixture(scope='module')
def uninterrupted(videos, tmp_path_factory):
    """Folder, runner and diary of a run from start to end."""
    folder, diary = tmp_path_factory.mktemp('uninterrupted'), Diary()
    cfg = config(videos, folder)
    cfg.default_hooks.checkpoint.max_keep_ckpts = -1
    return folder, run(cfg, diary), diary


def test_each_step_has_its_optimizer_losses_and_parts(uninterrupted):
    _, _, diary = uninterrupted
    assert len(diary.rows) == TOTAL
    for name, learning, losses, rate, _ in diary.rows[: ITERS[0]]:
        assert (name, rate) == ('RMSpropMX', 1e-4)
        assert learning == {'temporal'} and losses == {'loss_reg'}
    for name, learning, losses, _, _ in diary.rows[ITERS[0] :]:
        assert name == 'Adam' and learning == {'temporal', 'spatial'}
        assert losses == {'loss_rpn_cls', 'loss_rpn_box', 'loss_roi_cls', 'loss_roi_box'}
    rates = [rate for *_, rate, _ in diary.rows[ITERS[0] :]]
    assert rates == pytest.approx([2e-4, 1.1e-3, 2e-3])


def test_each_step_draws_its_own_pairs(videos, uninterrupted, tmp_path):
    """The second step has still pairs only; the first is the same with and without the second."""
    still = dict(interval=dict(low=0, high=0))
    changes = dict(batch_size=1, dataset=dict(dataset=still))
    steps = [STEPS[0], dict(STEPS[1], train_dataloader=changes)]
    whole, rest = Diary(), Diary()
    run(config(videos, tmp_path / 'whole', steps), whole)
    first, second = whole.rows[: ITERS[0]], whole.rows[ITERS[0] :]
    assert first == uninterrupted[2].rows[: ITERS[0]]
    frames = [pair for *_, drawn in second for pair in drawn]
    assert len(frames) == ITERS[1] and len(set(frames)) > 1
    assert all(path.endswith(f'#{key:06d}') for path, key in frames)
    with pytest.raises(KeyboardInterrupt):
        run(config(videos, tmp_path / 'killed', steps), Kill(ITERS[0] + 1))
    run(config(videos, tmp_path / 'killed', steps, resume=True), rest)
    assert rest.rows == whole.rows[ITERS[0] + 1 :]
    name = f'iter_{TOTAL}.pth'
    assert not differing(weights(tmp_path / 'whole' / name), weights(tmp_path / 'killed' / name))


def test_each_step_leaves_its_checkpoint(uninterrupted):
    folder, _, _ = uninterrupted
    assert not differing(
        weights(folder / 'regression.pth'), weights(folder / f'iter_{ITERS[0]}.pth')
    )
    assert not (folder / 'semantic.pth').exists()


def test_only_what_learns_changes(uninterrupted):
    folder, _, _ = uninterrupted
    at = {i: weights(folder / f'iter_{i}.pth') for i in range(1, TOTAL + 1)}
    changed = {i: differing(at[i], at[i + 1]) for i in range(1, TOTAL)}
    heads = ('spatial.detector.rpn_head', 'spatial.detector.roi_head')
    for i, names in changed.items():
        learns = ('temporal.',) if i < ITERS[0] else ('temporal.', *heads)
        assert names and all(name.startswith(learns) for name in names)
    assert any(name.startswith(heads) for name in changed[ITERS[0]])
    # Learning rate 0 in the first step.
    assert not any('temporal.scale.bias' in changed[i] for i in range(1, ITERS[0]))


@pytest.mark.parametrize('killed_at', [2, ITERS[0], ITERS[0] + 1])
def test_a_killed_run_continues_bit_by_bit(videos, uninterrupted, tmp_path, killed_at):
    """In step one, between the steps, and in step two."""
    folder, whole, diary = uninterrupted
    with pytest.raises(KeyboardInterrupt):
        run(config(videos, tmp_path), Kill(killed_at))
    name = 'regression' if killed_at == ITERS[0] else f'iter_{killed_at}'
    assert (tmp_path / 'last_checkpoint').read_text().endswith(f'/{name}.pth')
    rest = Diary()
    resumed = run(config(videos, tmp_path, resume=True), rest)
    assert rest.rows == diary.rows[killed_at:]
    name = f'iter_{TOTAL}.pth'
    assert not differing(weights(tmp_path / name), weights(folder / name))
    assert_same_state(resumed.optim_wrapper.optimizer, whole.optim_wrapper.optimizer)


@pytest.mark.parametrize('killed_at', [2, ITERS[0]])
def test_a_resumed_run_keeps_its_precision_in_all_steps(videos, tmp_path, monkeypatch, killed_at):
    """It began in bfloat16 and is resumed on a device that would choose float32."""
    wrapper = dict(type='BFloat16OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
    steps = [dict(step, optim_wrapper=wrapper) for step in STEPS]
    monkeypatch.setattr(optimizers, 'bfloat16_pays', lambda device: True)
    with pytest.raises(KeyboardInterrupt):
        run(config(videos, tmp_path, steps), Kill(killed_at))
    monkeypatch.setattr(optimizers, 'bfloat16_pays', lambda device: False)
    resumed = run(config(videos, tmp_path, steps, resume=True))
    assert resumed.optim_wrapper.enabled


def test_accumulated_gradients_of_a_resumed_run_are_complete(videos, tmp_path):
    """No checkpoint falls between the batches of an update."""

    def accumulated(folder, **changes):
        cfg = config(videos, tmp_path / folder, steps=[dict(STEPS[0], iters=3)], **changes)
        cfg.train_cfg.accumulate = 2
        return cfg

    whole = run(accumulated('whole'))
    with pytest.raises(KeyboardInterrupt):
        run(accumulated('killed'), Kill(5))
    assert (tmp_path / 'killed' / 'last_checkpoint').read_text().endswith('iter_4.pth')
    resumed = run(accumulated('killed', resume=True))
    assert not differing(resumed.model.state_dict(), whole.model.state_dict())


def test_an_empty_feature_cache_does_not_change_a_resumed_run(videos, tmp_path):
    def cached(folder, **changes):
        return config(videos, tmp_path / folder, model=video_config(feature_cache=1.0), **changes)

    killed_at = ITERS[0] + 1
    whole = run(cached('whole'))
    with pytest.raises(KeyboardInterrupt):
        run(cached('killed'), Kill(killed_at))
    resumed = run(cached('killed', resume=True))
    assert 0 < len(resumed.model.feature_cache) < len(whole.model.feature_cache)
    assert not differing(resumed.model.state_dict(), whole.model.state_dict())


def test_the_teacher_of_a_resumed_run_is_that_of_stage_one(videos, tmp_path):
    """The second step trains the feature network, and the run is killed ahead of it."""

    def trained(folder, **changes):
        parts = [*STEPS[1]['trainable'], 'feature_network']
        steps = [STEPS[0], dict(STEPS[1], trainable=parts)]
        return config(videos, tmp_path / folder, steps, **changes)

    whole = run(trained('whole'))
    with pytest.raises(KeyboardInterrupt):
        run(trained('killed'), Kill(ITERS[0]))
    stage_one = weights(tmp_path / 'killed' / f'iter_{ITERS[0]}.pth')
    resumed = run(trained('killed', resume=True))
    assert not differing(resumed.model.state_dict(), whole.model.state_dict())
    backbone = 'spatial.detector.backbone.layer4.1.conv2.weight'
    teachers = whole.model.state_dict()['teacher_features.0.layer4.1.conv2.weight']
    assert torch.equal(teachers, stage_one[backbone])
    assert not torch.equal(teachers, whole.model.state_dict()[backbone])


def assert_same_state(first, second):
    pairs = zip(
        first.state_dict()['state'].items(), second.state_dict()['state'].items(), strict=True
    )
    for (a, left), (b, right) in pairs:
        assert a == b and all(torch.equal(left[key], right[key]) for key in left)


def test_a_finished_run_has_nothing_to_resume(videos, uninterrupted, tmp_path):
    copy = shutil.copytree(uninterrupted[0], tmp_path / 'copy')
    again = run(config(videos, copy, resume=True))
    assert again.iter == TOTAL
    assert not differing(again.model.state_dict(), uninterrupted[1].model.state_dict())


def test_configs_of_0_3_0_are_the_same_runs(videos, tmp_path):
    def settings(kind):
        cfg = config(videos, tmp_path)
        cfg.train_cfg.type = kind
        return [dict(run) for run in runs(cfg)]

    found = settings('DistillationLoop')
    assert found == settings('IterBasedTrainLoop') and len(found) == len(STEPS)
    cfg = config(videos, tmp_path)
    cfg.train_cfg.update(type='DistillationLoop', accumulate=2)
    with pytest.raises(ValueError, match='divide train_dataloader.batch_size by .*accumulate=2'):
        next(runs(cfg))


def test_accumulated_batches_are_iterations(videos, tmp_path):
    schedule = [dict(type='MultiStepLR', by_epoch=False, milestones=[1, 2])]
    cfg = config(videos, tmp_path, param_scheduler=schedule)
    cfg.train_cfg.accumulate = 4
    first, second = runs(cfg)
    assert [run.train_cfg.max_iters for run in (first, second)] == [4 * ITERS[0], 4 * TOTAL]
    assert first.param_scheduler == [dict(schedule[0], milestones=[4, 8], end=4 * ITERS[0])]
    assert second.param_scheduler[0].end == 4 * 3
    assert first.optim_wrapper.accumulative_counts == second.optim_wrapper.accumulative_counts == 4
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=5, accumulate=2)
    [alone] = runs(cfg)
    assert alone.train_cfg == dict(type='IterBasedTrainLoop', max_iters=10)


def test_the_correction_of_a_resumed_run_is_that_of_an_uninterrupted_one(videos, tmp_path):
    steps = [dict(STEPS[1], name='heads', trainable=['task_network']), dict(STEPS[0])]
    steps = [dict(step, iters=1) for step in steps]
    files = []
    for name, hooks in dict(whole=[], parts=[Kill(1)]).items():
        cfg = config(videos, tmp_path / name, steps)
        cfg.model.temporal.correction_width = 4
        if hooks:
            with pytest.raises(KeyboardInterrupt):
                run(cfg, *hooks)
            cfg.resume = True
        run(cfg)
        files.append(weights(tmp_path / name / 'iter_2.pth'))
    assert not differing(*files)
    assert files[0]['temporal.correction.batches'] == 1
