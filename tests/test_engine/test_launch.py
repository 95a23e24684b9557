"""Settings of tools/train.py and tools/test.py: because of the machine, and from their options."""

import re
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from semidff.engine.launch import (
    Runner,
    VideoTestOptions,
    apply_test_options,
    prepare_training,
    use_mixed_precision,
)
from semidff.engine.steps import runs
from semidff.inference.options import MethodOptions
from tests.tiny import training

ROOT = Path(__file__).resolve().parents[2]


def video_config(**test_cfg) -> Config:
    return Config(
        dict(
            model=dict(type='VideoDetector'),
            test_cfg=test_cfg,
            test_dataloader=dict(a=1),
            test_evaluator=dict(type='VIDMetric'),
        )
    )


def test_video_test_takes_them():
    cfg = video_config(type='VideoTestLoop', method='copy', key_interval=10)
    cfg.merge_from_dict(dict(load_from='other.pth', resume=True))
    apply_test_options(cfg, MethodOptions(), VideoTestOptions())
    assert cfg.test_cfg == dict(type='VideoTestLoop', method='copy', key_interval=10)
    assert cfg.load_from is None and cfg.resume is False  # the given checkpoint is tested
    apply_test_options(cfg, MethodOptions('frame', 5), VideoTestOptions())
    assert cfg.test_cfg == dict(type='VideoTestLoop', method='frame', key_interval=5)
    cfg.test_cfg.render = dict(out_dir='a', fps=25)
    apply_test_options(
        cfg,
        MethodOptions(),
        VideoTestOptions(detections='out.txt', render='videos', render_videos=2),
    )
    assert cfg.test_evaluator.outfile == 'out.txt'
    assert cfg.test_cfg.render == dict(out_dir='videos', fps=25, max_videos=2)


FIXED = dict(type='FixedSchedule', interval=10, first=5)
CUTS = dict(type='SceneCutSchedule')


@pytest.mark.parametrize(
    ('schedule', 'given', 'expected'),
    [
        (None, dict(key_interval=5), None),
        (None, dict(key_interval=5, scene_cuts=True), dict(CUTS, base=5)),
        # The schedule of the config takes the interval, unless it has another setting in place of
        # it.
        (FIXED, {}, FIXED),
        (FIXED, dict(key_interval=20), dict(FIXED, interval=20)),
        (dict(CUTS, base=10), dict(key_interval=20), dict(CUTS, base=20)),
        (dict(CUTS, base=FIXED), dict(key_interval=20), dict(CUTS, base=dict(FIXED, interval=20))),
        (CUTS, dict(key_interval=20), dict(CUTS, base=20)),
        (dict(type='Custom'), dict(key_interval=20), dict(type='Custom')),
    ],
)
def test_schedules(schedule, given, expected):
    cfg = video_config(type='VideoTestLoop', **dict(schedule=schedule) if schedule else {})
    apply_test_options(cfg, MethodOptions(**given), VideoTestOptions())
    assert cfg.test_cfg.get('schedule') == expected


@pytest.mark.parametrize(
    ('kind', 'gpu', 'found'),
    [
        ('OptimWrapper', True, 'AmpOptimWrapper'),
        ('OptimWrapper', False, 'BFloat16OptimWrapper'),
        ('BFloat16OptimWrapper', True, 'BFloat16OptimWrapper'),
        ('ApexOptimWrapper', True, 'ApexOptimWrapper'),
    ],
)
def test_mixed_precision(monkeypatch, kind, gpu, found):
    monkeypatch.setattr('torch.cuda.is_available', lambda: gpu)
    wrapper = dict(type=kind, optimizer=dict(type='SGD', lr=0.1))
    cfg = Config(dict(optim_wrapper=wrapper))
    use_mixed_precision(cfg)
    changes = dict(
        AmpOptimWrapper=dict(loss_scale='dynamic'), BFloat16OptimWrapper=dict(enabled=True)
    )
    assert cfg.optim_wrapper == dict(wrapper, type=found, **changes.get(found, {}))


def original(name: str, **settings) -> Config:
    """A config with the original's conventions, which leave the checkpoint of the backbone open."""
    return Config(dict(Config.fromfile(ROOT / 'configs' / name), **settings))


OPEN = {
    'rfcn/rfcn_r101-original_imagenet-det-vid.py': 'model.backbone',
    'dff/dff_r101-original.py': 'model.detector.backbone',
}


@pytest.mark.parametrize(('name', 'backbone'), OPEN.items())
def test_an_open_checkpoint_of_the_backbone_is_refused(name, backbone):
    """Its frozen layers would keep random weights. The setting that the message names closes it."""
    key = f'{backbone}.init_cfg.checkpoint'
    with pytest.raises(ValueError, match=f'^{key} is not set'):
        prepare_training(original(name))
    given = original(name)
    given.merge_from_dict({key: 'a.pth'})
    prepare_training(given)
    assert given.model.get('detector', given.model).backbone.init_cfg.checkpoint == 'a.pth'


@pytest.mark.parametrize(
    'source',
    [
        dict(load_from='a.pth', load_parts=None),
        dict(load_parts=dict(a=dict(part='spatial.detector'))),
    ],
)
def test_weights_from_elsewhere_close_it(source):
    cfg = original('dff/dff_r101-original.py', **source)
    prepare_training(cfg)
    assert cfg.model.detector.backbone.init_cfg is None
    prepare_training(original('semi_dff/semi-dff_r101-original_imagenet-det-vid.py'))


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint that ``last_checkpoint`` names."""
    path = tmp_path / 'iter_2.pth'
    meta = dict(iter=2, epoch=0, seed=3)
    torch.save(dict(state_dict=dict(weight=torch.ones(1)), meta=meta), path)
    (tmp_path / 'last_checkpoint').write_text(str(path))
    return path


def test_the_checkpoint_to_resume_from(tmp_path, checkpoint):
    """With --resume the latest one of the work folder, if there is one; else that of the config."""
    for folder, given, resume, load_from in (
        ('other', dict(load_from='stage_one.pth'), 'auto', 'stage_one.pth'),
        ('.', dict(load_from='stage_one.pth'), 'auto', None),
        ('other', dict(resume=True, load_from=str(checkpoint)), None, str(checkpoint)),
    ):
        cfg = Config(dict(given, work_dir=str(tmp_path / folder)))
        prepare_training(cfg, resume)
        assert cfg.load_from == load_from and cfg.resume == (load_from != 'stage_one.pth')


def test_the_seed_is_that_of_the_checkpoint(checkpoint):
    cfg = Config(dict(randomness=dict(seed=0, deterministic=True)))
    prepare_training(cfg, str(checkpoint), seed=4)
    assert cfg.randomness == dict(seed=3, deterministic=True)


def test_the_log_has_what_a_user_acts_on(tmp_path):
    """Learning rate of each step; what a second training in the folder replaces."""
    cfg = training.config(training.write_videos(tmp_path), tmp_path / 'out')
    cfg.default_hooks.logger.interval = 3
    cfg.default_hooks.last_checkpoint = dict(type='LastCheckpointHook')
    texts = []
    for level in ('INFO', 'DEBUG'):
        for run in runs(Config(dict(cfg, log_level=level))):
            run.experiment_name = f'{level}_{run.train_cfg.max_iters}'
            Runner.from_cfg(run).train()
            time.sleep(1)  # logs are named by the second
        logs = sorted({*tmp_path.glob('out/*/*.log')})
        texts.append(''.join(path.read_text() for path in logs))
    short, both = texts
    logged = re.findall(r'\[(\d)/\d\].* lr: (\S+) +eta: ', short)
    assert logged == [('3', '1.0000e-04'), ('6', '2.0000e-03')]
    assert len(short.splitlines()) < 40
    found = [re.findall('WARNING - .* (random weights|last.pth)', log) for log in texts]
    assert found == [['random weights'], ['random weights'] * 2 + ['last.pth']]
    assert all(text in both for text in ('System environment', 'Hooks will be executed'))
