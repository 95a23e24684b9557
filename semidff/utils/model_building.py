"""Models built from configs, with random weights; nothing is downloaded."""

from pathlib import Path

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from semidff.utils.installed import installed_file


class ConfigError(ValueError):
    """A config without a model, or with a model of another kind than needed."""


def build_model(config: str | Path | Config, cfg_options: dict | None = None) -> nn.Module:
    """Build a config's model on the CPU.

    ``init_weights()`` is not called, since it may read or download pre-trained weights.

    Args:
        config: A config or its file.
        cfg_options: Settings that replace those of the file.

    Returns:
        The model, with the config as ``model.cfg``.

    Raises:
        ConfigError: If there is no such file, or no model in it.
    """
    if isinstance(config, str | Path):
        config = installed_file(config)
        if not Path(config).is_file():
            raise ConfigError(f'{config}: there is no such config')
        config = Config.fromfile(config)
        config.merge_from_dict(cfg_options or {})
    if 'model' not in config:
        raise ConfigError(
            f'{config.filename}: has no model; give the config of a training or of a test'
        )
    init_default_scope(config.get('default_scope', 'mmdet'))
    model = MODELS.build(config.model)
    model.cfg = config
    return model


def build_video_detector(path: str | Path, cfg_options: dict | None = None) -> nn.Module:
    """Build a config's video detector, always with the same random weights.

    Raises:
        ConfigError: If the config has no video detector, but an image detector for example.
    """
    torch.manual_seed(0)
    model = build_model(path, cfg_options)
    if not hasattr(model, 'has_temporal'):
        raise ConfigError(
            f'{path}: {type(model).__name__} has no temporal module; give a stage-two config'
        )
    return model
