"""Former names of types, methods, configs and tools still work, with one line that reports them."""

import json
import logging

import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from semidff.datasets import LabeledPairDataset
from semidff.inference.methods import renamed_method
from semidff.utils import deprecation
from semidff.utils.deprecation import renamed_file, warn_renamed
from semidff.utils.installed import PROJECT, installed_file


@pytest.fixture
def reports(log):
    """Warnings in the log; what other tests have reported is reported again."""
    deprecation.warn_renamed.cache_clear()
    return lambda: [r.getMessage() for r in log.records if r.levelno == logging.WARNING]


def test_one_line_once(reports):
    for _ in range(3):
        warn_renamed('type', 'Old', 'New')
    (line,) = reports()
    assert "type 'Old'" in line and "'New'" in line and '\n' not in line


def test_registered_type(reports, tmp_path):
    init_default_scope('mmdet')
    ann_file = tmp_path / 'ann.json'
    box = dict(id=1, image_id=1, category_id=1, bbox=[0, 0, 4, 4])
    ann_file.write_text(
        json.dumps(
            dict(
                images=[dict(id=1, file_name='1.jpg', width=8, height=8)],
                annotations=[box],
                categories=[dict(id=1, name='cat')],
            )
        )
    )
    config = dict(
        type='LabelledPairDataset',
        dataset=dict(type='CocoVIDDataset', ann_file=str(ann_file)),
        interval=dict(type='UniformInterval', low=0, high=9),
        pipeline=[dict(type='PackFramePair')],
    )
    for _ in range(2):
        assert isinstance(DATASETS.build(config), LabeledPairDataset)
    (line,) = reports()
    assert "'LabelledPairDataset'" in line and "'LabeledPairDataset'" in line
    with pytest.raises(TypeError, match='unknown'):
        DATASETS.build(dict(config, unknown=1))


def test_method(reports):
    assert renamed_method('centred') == 'centered'
    assert renamed_method('propagate') == 'propagate'
    (line,) = reports()
    assert "'centred'" in line and "'centered'" in line


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ('configs/person/chain.py', 'configs/person/experiment.py'),
        ('configs/quickstart/_base_/dff_chain.py', 'configs/quickstart/_base_/dff_experiment.py'),
        ('configs/quickstart/_base_/world.py', 'configs/quickstart/_base_/data.py'),
        ('configs/quickstart/chain.py', 'configs/quickstart/experiment.py'),
        ('configs/quickstart/chain_dff_long.py', 'configs/quickstart/experiment_dff_long.py'),
        ('configs/quickstart/crops_world.py', 'configs/quickstart/crops_synthetic.py'),
        (
            'configs/quickstart/dff_no-pretraining_world.py',
            'configs/quickstart/dff_no-pretraining_synthetic.py',
        ),
        ('configs/quickstart/two_step_world.py', 'configs/quickstart/two_step_synthetic.py'),
        ('tools/make_world.py', 'tools/make_synthetic.py'),
    ],
)
def test_files(reports, monkeypatch, tmp_path, old, new):
    monkeypatch.chdir(tmp_path)
    assert renamed_file(old) == new
    assert renamed_file(f'/somewhere/{old}') == f'/somewhere/{new}'
    assert (PROJECT / new).is_file()
    assert installed_file(old) == str(PROJECT / new)
    assert len(reports()) == 2


def test_other_files_keep_their_names(reports, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / 'configs/quickstart/two_step_world.py'
    own.parent.mkdir(parents=True)
    own.touch()
    for path in (str(own), 'configs/quickstart/hello_world.txt', 'my_tools/chain.py', 'chain.py'):
        assert renamed_file(path) == path
    assert reports() == []


def test_config(reports):
    cfg = Config.fromfile(installed_file(PROJECT / 'configs/quickstart/two_step_world.py'))
    assert cfg.model.type == 'SemiDFF'
    assert len(reports()) == 1
