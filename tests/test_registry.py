"""Configs of other projects can import this package, and start from its configs."""

import subprocess
import sys

import pytest
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import HOOKS, init_default_scope

from semidff.registry import REGISTRIES
from tests.tiny.videos import video_detector_cfg

ROOT = 'semidff::quickstart/two_step_synthetic.py'


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmdet')


def test_base_of_the_package(tmp_path):
    own = tmp_path / 'own.py'
    own.write_text(
        f"_base_ = '{ROOT}'\nmodel = dict(objectives=[dict(type='FeatureRegression')])\n"
    )
    cfg = Config.fromfile(own)
    assert cfg.model.type == 'SemiDFF' and cfg.model.objectives == [dict(type='FeatureRegression')]
    assert MODELS.build(cfg.model.temporal) is not None


def test_variables_of_the_base_are_built(tmp_path):
    """mmengine marks them with the scope of the package they come from."""
    own = tmp_path / 'own.py'
    own.write_text(
        "_base_ = 'semidff::_base_/default_runtime.py'\nhook = _base_.default_hooks.finite_loss\n"
    )
    cfg = Config.fromfile(own)
    assert cfg.hook._scope_ == 'semidff'
    assert type(HOOKS.build(cfg.hook)).__name__ == cfg.hook.type
    model = MODELS.build(dict(video_detector_cfg(), _scope_='semidff'))
    assert type(model).__name__ == video_detector_cfg()['type']


def test_parts_of_mmdetection_are_registered_on_demand():
    """A lookup in this scope may be the first one."""
    for registry in REGISTRIES:
        assert {'semidff.registry', *registry.parent._locations} == set(registry._locations)


PLAIN = """
import sys
from mmengine.config import Config

Config.fromfile(sys.argv[1])
from mmdet.registry import MODELS
print(MODELS.get('SemiDFF'))
"""


@pytest.mark.parametrize('name', ['semidff', 'semidff.registry'])
def test_programs_of_mmengine_import_the_parts(tmp_path, name):
    file = tmp_path / 'own.py'
    file.write_text(f'custom_imports = dict(imports={[name]})')
    command = [sys.executable, '-c', PLAIN, str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "<class 'semidff.models.semi_dff.SemiDFF'>", done.stderr


FIRST = """
import sys
import semidff
from mmengine.config import Config
print(Config.fromfile(sys.argv[1]).train_cfg.steps[0].name, 'mmdet' in sys.modules)
from mmdet.registry import DATASETS
print(DATASETS.get('CocoVIDDataset').__name__)
"""


def test_a_program_that_imports_the_package_first_has_the_configs_and_the_parts(tmp_path):
    """Configs without the parts, whose import takes seconds."""
    (tmp_path / 'own.py').write_text("_base_ = 'semidff::_base_/schedules/adam_two_step.py'")
    command = [sys.executable, '-c', FIRST, str(tmp_path / 'own.py')]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.splitlines() == ['regression False', 'CocoVIDDataset'], done.stderr
