"""Configs, and models built from them with random weights; nothing is downloaded."""

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.registry import init_default_scope
from torch import nn

from semidff.utils.configs import import_extras, settings_of
from semidff.utils.error_messages import ConfigError

from .detectors import read_model, resolve_detector

_HEAD = re.compile(r'(.*\.)?(bbox|decode|auxiliary)_head(\.\d+)?')


def build_model(config: str | Path | Config, keep_checkpoint: bool = False) -> nn.Module:
    """Build a config's model on the CPU.

    ``init_weights()`` is not called, since it may read or download pre-trained weights.

    Args:
        config: A config or its file. A detector that it names is replaced by its config.
        keep_checkpoint: Whether to load the image detector's checkpoint that the config names
            (``model.checkpoint``). If not, the setting is removed, since it may name a file that is
            needed no longer.

    Returns:
        The model, with the config as ``model.cfg``.
    """
    if isinstance(config, str | Path):
        config = read_model(config)
    if 'model' not in config:
        raise ConfigError(f'{getattr(config, "filename", None) or "the config"}: has no model')
    import_extras(config)
    init_default_scope(config.get('default_scope', 'mmdet'))
    if config.get('data_preprocessor'):  # as mmengine's Runner does
        config.model.setdefault('data_preprocessor', config.data_preprocessor)
    resolve_detector(config, keep_checkpoint)
    config.model.pop('objectives', None)
    model = MODELS.build(config.model)
    model.cfg = config
    return model


def build_detector(settings: dict) -> nn.Module:
    """Build a detector of mmdet or a network of mmsegmentation; the config is not modified."""
    import_extras(settings)
    settings = copy.deepcopy(settings)
    kind = settings['type']
    if isinstance(kind, str) and '.' in kind:
        settings['_scope_'] = kind.partition('.')[0]
    if 'language_model' in settings:
        raise TypeError(f'{kind} detects what a text names, and the frames of a video have no text')
    for _, part in settings_of(settings):
        # mmcv's needs a process group even for inference; PyTorch's has the same weights and
        # results.
        if isinstance(part, dict) and part.get('type') == 'MMSyncBN':
            part['type'] = 'SyncBN'
    try:
        return MODELS.build(settings)
    except (ImportError, RuntimeError) as error:
        raise ConfigError(f'{kind} cannot be built: {error}') from error


def build_video_detector(path: str | Path, cfg_options: dict | None = None) -> nn.Module:
    """Build a config's video detector, always with the same random weights."""
    torch.manual_seed(0)
    model = build_model(read_model(path, cfg_options))
    if not getattr(model, 'has_temporal', False):
        raise ConfigError(
            f'{path}: {type(model).__name__} has no temporal module; give a stage-two config'
        )
    return model


def num_classes_of(model: nn.Module) -> dict[str, int]:
    """Return the number of classes of each head that predicts classes, by the head's name."""
    return {
        name: head.num_classes
        for name, head in model.named_modules()
        if _HEAD.fullmatch(name)
        and isinstance(getattr(head, 'num_classes', None), int)
        and not isinstance(head, RPNHead)  # objects of any class
    }


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside a parallel wrapper, or the model itself."""
    return model.module if is_model_wrapper(model) else model


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients that restores the modules' modes and the random states."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    gpus = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    try:
        with torch.no_grad(), torch.random.fork_rng(gpus):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode  # train() would change modules that the model keeps in eval mode


def is_kind(config: dict, base: type) -> bool:
    """Return whether a config's ``type`` is, or names, a class derived from ``base``."""
    kind = config.get('type', '')
    kind = kind if isinstance(kind, type) else MODELS.get(kind)
    return isinstance(kind, type) and issubclass(kind, base)
