"""Every config under configs/ trains two iterations a step and is tested, on a miniature of its
data set.
"""

from pathlib import Path

import pytest
from mmdet.models.backbones import Darknet
from mmengine.config import Config
from mmengine.runner import Runner

import semidff.registry  # noqa: F401 (registers the package's parts)
from semidff.checkpoints.detectors import resolve_detector
from semidff.converters.cityscapes import convert_split
from semidff.engine.steps import runs
from semidff.utils.command_line import parse_settings
from tests.config_files import ROOT, commands_of, trainings
from tests.tiny.datasets import DARKNET, shrink, write_cityscapes, write_generated, write_imagenet

# Trainings of the tables, with accumulated gradients: those that change the objective, and some
# with other weights.
CAFFE = 'configs/imagenet/tables_caffe.mk'
CAFFE_STEPS = commands_of(CAFFE) | commands_of(CAFFE, 'test')
STEPS = {
    name: (config, settings)
    for name, (config, settings) in commands_of('configs/imagenet/tables.mk').items()
    if any('objectives' in setting or 'trainable' in setting for setting in settings)
} | {
    f'caffe-{name}': CAFFE_STEPS[name]
    for name in ('flow', 'rfcn', 'vid_dff', 'vid_sem', 'vid-sff-fast')
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The working folder of the trainings."""
    folder = tmp_path_factory.mktemp('trainings')
    write_imagenet(folder / 'data/ILSVRC2015')
    write_generated(folder)
    write_cityscapes(folder / 'cityscapes')
    for split in ('train', 'val'):
        convert_split(folder / 'cityscapes', folder / 'data/cityscapes_videos', split)
    return folder


@pytest.mark.parametrize('name', [*trainings(), *STEPS])
def test_trains_and_is_tested(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setitem(Darknet.arch_settings, 53, DARKNET)
    config, settings = STEPS.get(name, (f'configs/{name}', []))
    cfg = Config.fromfile(ROOT / config)
    settings = [setting for setting in settings if not setting.startswith('load_parts')]
    cfg.merge_from_dict(parse_settings(settings) if settings else {})
    resolve_detector(cfg, keep_checkpoint=False)
    cfg = shrink(cfg, folder / 'work_dirs' / name.replace('/', '_'))
    if cfg.get('train_cfg'):
        for run in runs(cfg):
            runner = Runner.from_cfg(run)
            runner.train()
        updates = 2 * len(cfg.train_cfg.get('steps', [1]))
        assert runner.iter == updates * cfg.train_cfg.get('accumulate', 1)
        assert Path(cfg.work_dir, 'last.pth').is_file()
    else:
        runner = Runner.from_cfg(cfg)
    if cfg.get('test_cfg'):
        metrics = runner.test()
        values = [v for k, v in metrics.items() if k.endswith(('mAP', 'mIoU', 'EPE'))]
        assert values and all(value >= 0 for value in values), metrics
    for checkpoint in Path(cfg.work_dir).glob('*.pth'):  # several GB in all
        checkpoint.unlink()
