"""Config files and their settings."""

from mmengine.config import Config

from semidff.utils.configs import read_config


def test_any_setting_may_be_added(tmp_path):
    Config(dict(train_cfg=dict(max_iters=5), dataset='pets', window='hann')).dump(tmp_path / 'c.py')
    config = read_config(tmp_path / 'c.py', {'train_cfg.max_iters': 7, 'note': 1})
    assert config.train_cfg.max_iters == 7 and config.note == 1 and config.dataset == 'pets'
