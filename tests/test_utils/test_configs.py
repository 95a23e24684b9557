"""Config files and their settings."""

import pytest
from mmengine.config import Config

from semidff.utils.configs import read_config
from semidff.utils.error_messages import ConfigError


def test_any_setting_may_be_added(tmp_path):
    Config(dict(train_cfg=dict(max_iters=5), dataset='pets', window='hann')).dump(tmp_path / 'c.py')
    config = read_config(tmp_path / 'c.py', {'train_cfg.max_iters': 7, 'note': 1})
    assert config.train_cfg.max_iters == 7 and config.note == 1 and config.dataset == 'pets'
    with pytest.raises(ConfigError, match='gone.py: there is no such config'):
        read_config(tmp_path / 'gone.py')
