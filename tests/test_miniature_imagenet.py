"""Configs for ImageNet train two iterations a step and are tested, on a miniature of it in the same layout."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

import semidff  # noqa: F401 (registers the package's parts)
from tests.miniature_imagenet import shrink, write_imagenet

ROOT = Path(__file__).resolve().parents[1]
# One for each kind of model, data and step: all of them would take several minutes. The last are steps of the
# tables, which accumulate gradients.
CONFIGS = [
    'rfcn/rfcn_r101_imagenet-det.py',
    'rfcn/rfcn_r101-original_imagenet-det-vid.py',
    'dff/dff_r101_imagenet-det-vid-2to1.py',
    'dff/dff_r101-original.py',
    'dff/dff_r101_split0.py',
    'dff/sff-fast_r101.py',
    'semi_dff/semi-dff_r101_imagenet-det-vid_plus.py',
    'semi_dff/semi-dff_r101-original_imagenet-det-vid.py',
    'semi_dff/semi-dff_r101_imagenet-det_joint.py',
    'semi_dff/semi-dff_r101_imagenet-det_reg_generative.py',
    'retinanet-semi-dff',
    'steady',
    'temporal-spatial',
]
TABLES = Config.fromfile(ROOT / 'configs/imagenet/tables.py')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The working folder of the trainings."""
    folder = tmp_path_factory.mktemp('imagenet')
    write_imagenet(folder / 'data/ILSVRC2015')
    return folder


@pytest.mark.parametrize('name', CONFIGS)
def test_trains_and_is_tested(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    steps = {step['name']: step for step in TABLES.steps}
    step = steps.get(name, dict(train=f'configs/{name}', cfg_options={}))
    cfg = Config.fromfile(ROOT / step['train'])
    options = {k: v for k, v in step['cfg_options'].items() if not k.startswith('load_parts')}
    cfg.merge_from_dict(options)
    cfg = shrink(cfg, folder / 'work_dirs' / Path(name).stem)
    runner = Runner.from_cfg(cfg)
    if cfg.get('train_cfg'):
        runner.train()
        assert runner.iter == 2 * len(cfg.train_cfg.get('steps', [1]))
        assert Path(cfg.work_dir, 'last.pth').is_file()
    (value,) = (v for k, v in runner.test().items() if k.endswith('mAP'))
    assert 0 <= value <= 1
