"""Models for analyses: built from a config, with random weights, nothing downloaded."""

from pathlib import Path

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

import semidff  # noqa: F401 (registers the package's parts)
from semidff.models import VideoDetector


def build_video_detector(path: str | Path, cfg_options: dict | None = None) -> VideoDetector:
    """Builds a config's video detector, always with the same random weights.

    Args:
        path (str | Path): The config.
        cfg_options (dict | None): Settings that replace those of the config.

    Raises:
        ValueError: If the config is of another model, an image detector say.
        FileNotFoundError: If there is no such config.
    """
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(cfg_options or {})
    init_default_scope('mmdet')
    torch.manual_seed(0)
    # init_weights() is not called: that is what would read or download pretrained weights.
    model = MODELS.build(cfg.model)
    if not isinstance(model, VideoDetector):
        raise ValueError(
            f'{path}: {type(model).__name__} has no temporal module; give a stage-two config'
        )
    return model
