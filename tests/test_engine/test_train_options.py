import pytest
from mmengine.config import Config

from semidff.engine.train_options import adapt_optimizers


def config(**wrapper):
    steps = [
        dict(name='a'),
        dict(name='b', optim_wrapper=dict(optimizer=dict(type='Adam', lr=1e-3))),
    ]
    return Config(
        dict(
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1), **wrapper),
            train_cfg=dict(type='DistillationLoop', steps=steps),
        )
    )


def test_nothing_is_changed_without_switches():
    cfg = config()
    adapt_optimizers(cfg)
    assert cfg.to_dict() == config().to_dict()


@pytest.mark.parametrize('gpu,kind', [(True, 'AmpOptimWrapper'), (False, 'BFloat16OptimWrapper')])
def test_mixed_precision_reaches_every_step(monkeypatch, gpu, kind):
    monkeypatch.setattr('torch.cuda.is_available', lambda: gpu)
    cfg = config()
    adapt_optimizers(cfg, amp=True)
    for wrapper in (cfg.optim_wrapper, cfg.train_cfg.steps[1].optim_wrapper):
        assert wrapper.type == kind
        assert wrapper.get('loss_scale') == ('dynamic' if gpu else None)
    assert 'optim_wrapper' not in cfg.train_cfg.steps[0]
    assert cfg.optim_wrapper.optimizer.lr == 0.1


def test_accumulation_reaches_every_step():
    cfg = config()
    adapt_optimizers(cfg, accumulate=4)
    assert cfg.optim_wrapper.accumulative_counts == 4
    assert cfg.train_cfg.steps[1].optim_wrapper.accumulative_counts == 4


@pytest.mark.parametrize('accumulate', [0, -2])
def test_accumulation_must_be_positive(accumulate):
    with pytest.raises(ValueError, match=f'at least 1, got {accumulate}'):
        adapt_optimizers(config(), accumulate=accumulate)


def test_mixed_precision_does_not_replace_another_kind():
    cfg = config()
    cfg.optim_wrapper.type = 'ApexOptimWrapper'
    with pytest.raises(ValueError, match='the config has ApexOptimWrapper'):
        adapt_optimizers(cfg, amp=True)


def test_configs_without_steps_or_training():
    cfg = Config(dict(optim_wrapper=dict(optimizer=dict(type='SGD')), train_cfg=dict(max_iters=3)))
    adapt_optimizers(cfg, accumulate=2)
    assert cfg.optim_wrapper.accumulative_counts == 2
    adapt_optimizers(Config(dict(model=dict())), amp=True)
