"""Settings that cannot be right are refused before a run."""

import pytest
from mmengine.config import Config

from semidff.utils.model_building import ConfigError, check_settings, files_of, read_config


def settings(**changes):
    model = dict(type='X', data_preprocessor=dict(type='Y', mean=[1, 2, 3], std=[1, 2.5, 3]))
    return Config(
        dict(model=model, train_cfg=dict(type='IterBasedTrainLoop', max_iters=5)) | changes
    )


def test_possible_settings():
    check_settings(settings())
    check_settings(settings(model=dict(type='X', data_preprocessor=None, detector=dict(type='Z'))))


def test_a_config_without_a_model():
    with pytest.raises(ConfigError, match='the config: has no model'):
        check_settings(Config(dict()))


@pytest.mark.parametrize('value', [0, -1, 2.5, '3', True, None])
@pytest.mark.parametrize('key', ['max_iters', 'max_epochs'])
def test_impossible_lengths(key, value):
    with pytest.raises(ConfigError, match=f'train_cfg.{key} is'):
        check_settings(settings(train_cfg={key: value}))


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('std', [1, 0, 1]),
        ('std', [1, -1, 1]),
        ('std', [1, float('nan'), 1]),
        ('std', ['1']),
        ('mean', [float('inf')]),
    ],
)
@pytest.mark.parametrize('place', ['model', 'model.detector'])
def test_impossible_normalization(place, name, value):
    part = dict(data_preprocessor={name: value})
    model = part if place == 'model' else dict(detector=part)
    with pytest.raises(ConfigError, match=rf'{place}\.data_preprocessor\.{name} is'):
        check_settings(settings(model=model))


def test_unknown_options(tmp_path):
    settings().dump(tmp_path / 'c.py')
    config = read_config(
        tmp_path / 'c.py', {'train_cfg.max_iters': 7, 'load_from': 'a.pth', 'load_parts.a': 1}
    )
    assert config.train_cfg.max_iters == 7 and config.load_from == 'a.pth'
    with pytest.raises(ConfigError, match="has no setting 'train_cgf'; did you mean 'train_cfg'"):
        read_config(tmp_path / 'c.py', {'train_cgf.max_iters': 7})


def test_settings_that_are_no_paths_are_no_files(tmp_path):
    config = Config(dict(name='a' * 300, null='a\0b', folder=str(tmp_path), work_dir=str(tmp_path)))
    assert list(files_of(config)) == [str(tmp_path)]
