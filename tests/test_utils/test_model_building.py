"""Configs and models that are built from them."""

import pytest
from mmengine.config import Config

from semidff.utils.model_building import ConfigError, build_model, read_config


def test_a_config_without_a_model():
    with pytest.raises(ConfigError, match='the config: has no model'):
        build_model(Config(dict()))


def test_any_setting_may_be_added(tmp_path):
    Config(dict(train_cfg=dict(max_iters=5), dataset='pets', window='hann')).dump(tmp_path / 'c.py')
    config = read_config(tmp_path / 'c.py', {'train_cfg.max_iters': 7, 'note': 1})
    assert config.train_cfg.max_iters == 7 and config.note == 1 and config.dataset == 'pets'
    with pytest.raises(ConfigError, match='gone.py: there is no such config'):
        read_config(tmp_path / 'gone.py')
