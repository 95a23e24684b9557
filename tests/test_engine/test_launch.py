"""Settings of tools/train.py and tools/test.py: because of the machine, and from their options."""

import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from semidff.engine.launch import (
    VIDEO_OPTIONS,
    OptionError,
    adapt_to_machine,
    apply_test_options,
    apply_train_options,
    is_first_process,
)
from tests.processes import free_port

ROOT = Path(__file__).resolve().parents[2]


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


@pytest.mark.parametrize(
    ('launcher', 'variable'),
    [('pytorch', 'RANK'), ('slurm', 'SLURM_PROCID'), ('mpi', 'OMPI_COMM_WORLD_RANK')],
)
def test_the_launcher_gives_the_rank_before_the_group_starts(monkeypatch, launcher, variable):
    monkeypatch.setenv(variable, '0')
    assert is_first_process(launcher)
    monkeypatch.setenv(variable, '3')
    assert not is_first_process(launcher)
    assert is_first_process('none')


def video_config(**test_cfg) -> Config:
    return Config(
        dict(
            model=dict(type='VideoDetector'),
            test_cfg=test_cfg,
            test_dataloader=dict(a=1),
            test_evaluator=dict(type='VIDMetric'),
        )
    )


def options(**given) -> Namespace:
    return Namespace(**{**dict.fromkeys(VIDEO_OPTIONS), 'render_fps': None, **given})


def test_video_test_takes_them():
    cfg = video_config(type='VideoTestLoop', method='copy', key_interval=10)
    assert apply_test_options(cfg, options()) == 'copy'
    assert apply_test_options(cfg, options(method='frame', key_interval=5)) == 'frame'
    assert cfg.test_cfg.key_interval == 5
    apply_test_options(cfg, options(detections='out.txt', render='videos', render_videos=2))
    assert cfg.test_evaluator.outfile == 'out.txt'
    assert cfg.test_cfg.render == dict(out_dir='videos', max_videos=2)
    with pytest.raises(OptionError, match='must be at least 1'):
        apply_test_options(cfg, options(key_interval=0))


def test_a_checkpoint_in_the_work_folder_is_tested_and_resumed(tmp_path):
    """Such as the only file that was downloaded or copied."""
    path = tmp_path / 'last.pth'
    torch.save(dict(state_dict=dict(a=torch.ones(1)), meta=dict(iter=2, epoch=0)), path)
    cfg = video_config(type='VideoTestLoop')
    cfg.work_dir = str(tmp_path)
    apply_test_options(cfg, options())
    cfg = training_config()
    cfg.work_dir = str(tmp_path)
    train_with(cfg, resume=str(path))
    assert cfg.resume and cfg.load_from == str(path)


def test_only_the_given_checkpoint_is_tested():
    for kind in ('VideoTestLoop', 'TestLoop'):
        cfg = video_config(type=kind)
        cfg.merge_from_dict(dict(load_from='other.pth', resume=True))
        apply_test_options(cfg, options())
        assert cfg.load_from is None and cfg.resume is False


def test_default_method_follows_from_the_model():
    cfg = video_config(type='VideoTestLoop')
    assert apply_test_options(cfg, options()) == 'frame'
    cfg.model.temporal = dict(type='TemporalModule')
    assert apply_test_options(cfg, options()) == 'propagate'


def test_schedules():
    cfg = video_config(type='VideoTestLoop', key_interval=7)
    apply_test_options(cfg, options(key_interval=5))
    assert cfg.test_cfg.get('schedule') is None
    apply_test_options(cfg, options(scene_cuts=True))
    assert cfg.test_cfg.schedule == dict(type='SceneCutSchedule', base=5)
    apply_test_options(cfg, options(adaptive='a.json', key_interval=9))
    adaptive = dict(type='AdaptiveSchedule', file='a.json', interval=9)
    assert cfg.test_cfg.schedule == adaptive
    apply_test_options(cfg, options(adaptive='a.json', scene_cuts=True))
    assert cfg.test_cfg.schedule == dict(type='SceneCutSchedule', base=adaptive)


def test_the_schedule_of_the_config_takes_the_interval():
    fixed = dict(type='FixedSchedule', interval=10, first=5)
    cfg = video_config(type='VideoTestLoop', schedule=fixed)
    apply_test_options(cfg, options())
    assert cfg.test_cfg.schedule == fixed
    apply_test_options(cfg, options(key_interval=20))
    assert cfg.test_cfg.schedule == dict(fixed, interval=20)
    for base, changed in ((10, 20), (fixed, dict(fixed, interval=20))):
        cfg = video_config(type='VideoTestLoop', schedule=dict(type='SceneCutSchedule', base=base))
        apply_test_options(cfg, options(key_interval=20))
        assert cfg.test_cfg.schedule == dict(type='SceneCutSchedule', base=changed)
    cfg = video_config(type='VideoTestLoop', schedule=dict(type='SceneCutSchedule'))
    apply_test_options(cfg, options(key_interval=20))
    assert cfg.test_cfg.schedule == dict(type='SceneCutSchedule', base=20)
    for other in (dict(type='AdaptiveSchedule', file='a', tolerance=0.1), dict(type='Custom')):
        cfg = video_config(type='VideoTestLoop', schedule=other)
        apply_test_options(cfg, options(key_interval=20))
        assert cfg.test_cfg.schedule == other


def test_rendering_keeps_the_settings_of_the_config():
    cfg = video_config(type='VideoTestLoop', render=dict(out_dir='a', fps=25, max_videos=2))
    apply_test_options(cfg, options(render='b'))
    assert cfg.test_cfg.render == dict(out_dir='b', fps=25, max_videos=2)


def test_other_models_have_no_method():
    cfg = video_config(type='TestLoop')
    assert apply_test_options(cfg, options()) is None
    assert cfg.test_cfg == dict(type='TestLoop')


@pytest.mark.parametrize(
    ('name', 'value'), [('method', 'copy'), ('key_interval', 5), ('render', 'videos')]
)
def test_other_models_refuse_video_options(name, value):
    with pytest.raises(OptionError, match=f'--{name.replace("_", "-")} is for tests on videos'):
        apply_test_options(video_config(type='TestLoop'), options(**{name: value}))


def test_nothing_to_test():
    with pytest.raises(OptionError, match="type is None; set test_cfg = dict.type='VideoTestLoop'"):
        apply_test_options(video_config(fp16=True), options())
    with pytest.raises(OptionError, match='nothing to test'):
        apply_test_options(Config(dict(test_cfg=None)), options())


def training_config(**wrapper):
    steps = [
        dict(name='a'),
        dict(name='b', optim_wrapper=dict(optimizer=dict(type='Adam', lr=1e-3))),
    ]
    return Config(
        dict(
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1), **wrapper),
            train_cfg=dict(type='DistillationLoop', steps=steps),
            train_dataloader=dict(batch_size=2),
        )
    )


def train_with(cfg, amp=False, **options):
    options = {'seed': None, 'resume': None, 'accumulate': None, **options}
    apply_train_options(cfg, Namespace(amp=amp, **options))


def test_nothing_is_changed_without_switches():
    cfg = training_config()
    train_with(cfg)
    assert cfg.to_dict() == training_config().to_dict()


@pytest.mark.parametrize('gpu,kind', [(True, 'AmpOptimWrapper'), (False, 'BFloat16OptimWrapper')])
def test_mixed_precision_reaches_every_step(monkeypatch, gpu, kind):
    monkeypatch.setattr('torch.cuda.is_available', lambda: gpu)
    cfg = training_config()
    train_with(cfg, amp=True)
    for wrapper in (cfg.optim_wrapper, cfg.train_cfg.steps[1].optim_wrapper):
        assert wrapper.type == kind
        assert wrapper.get('loss_scale') == ('dynamic' if gpu else None)
    assert 'optim_wrapper' not in cfg.train_cfg.steps[0]
    assert cfg.optim_wrapper.optimizer.lr == 0.1


def test_accumulation_is_a_setting_of_the_loop():
    """The batch size, from which mmengine scales learning rates, is that of an update."""
    cfg = training_config()
    cfg.train_cfg.steps[1].train_dataloader = dict(batch_size=3)
    train_with(cfg, accumulate=4)
    assert (cfg.train_cfg.type, cfg.train_cfg.accumulate) == ('DistillationLoop', 4)
    assert cfg.train_dataloader.batch_size == 8
    assert cfg.train_cfg.steps[1].train_dataloader.batch_size == 12
    assert 'train_dataloader' not in cfg.train_cfg.steps[0]
    loop = dict(type='IterBasedTrainLoop', max_iters=3)
    stills = Config(dict(train_cfg=loop, train_dataloader=dict(num_workers=0)))
    train_with(stills, accumulate=2)
    assert stills.train_cfg == dict(type='AccumulatingLoop', max_iters=3, accumulate=2)
    assert stills.train_dataloader.batch_size == 2
    with pytest.raises(OptionError, match="train_cfg.type is 'EpochBasedTrainLoop'"):
        train_with(Config(dict(train_cfg=dict(type='EpochBasedTrainLoop'))), accumulate=2)


def test_accumulation_that_loses_gradients_is_refused():
    with pytest.raises(OptionError, match='use --accumulate 4, which counts updates'):
        train_with(training_config(accumulative_counts=4))


@pytest.mark.parametrize('accumulate', [0, -2])
def test_accumulation_must_be_positive(accumulate):
    with pytest.raises(ValueError, match=f'at least 1, got {accumulate}'):
        train_with(training_config(), accumulate=accumulate)


def test_mixed_precision_does_not_replace_another_kind():
    cfg = training_config()
    cfg.optim_wrapper.type = 'ApexOptimWrapper'
    with pytest.raises(ValueError, match='the config has ApexOptimWrapper'):
        train_with(cfg, amp=True)


def test_configs_without_training():
    train_with(Config(dict(model=dict())), amp=True)


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
    with pytest.raises(OptionError, match=rf'{key} is not set.*--cfg-options {key}=FILE'):
        train_with(original(name))
    given = original(name)
    given.merge_from_dict({key: 'a.pth'})
    train_with(given)
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
    train_with(cfg)
    assert cfg.model.detector.backbone.init_cfg is None
    train_with(original('semi_dff/semi-dff_r101-original_imagenet-det-vid.py'))


def test_weights_of_two_kinds_are_refused():
    """The parts would replace weights of load_from."""
    with pytest.raises(OptionError, match='load_parts would replace flow; add load_parts=None'):
        train_with(original('dff/dff_r101-original.py', load_from='a.pth'))
