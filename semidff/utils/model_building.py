"""Configs, and models built from them with random weights; nothing is downloaded."""

import difflib
import inspect
import math
import os
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
from mmengine.runner import Runner
from torch import nn

from .image_detectors import resolve_detector
from .installed import installed_file
from .setting_checks import (
    ConfigError,
    check_kinds,
    check_values,
    import_extras,
    read_file,
    settings_of,
)
from .tool_files import check_inputs

_HEAD = re.compile(r'(.*\.)?(bbox|decode|auxiliary)_head(\.\d+)?')
# Settings that configs may lack: those of mmengine's Runner, and those of this package's hooks.
RUNNER_SETTINGS = frozenset(inspect.signature(Runner).parameters) | {
    'activation_checkpointing', 'compile', 'custom_imports', 'efficient_conv_bn_eval',
    'find_unused_parameters', 'load_parts', 'model_wrapper_cfg', 'sync_bn', 'tta_model',
}  # fmt: skip


def read_config(path: str | Path, cfg_options: dict | None = None) -> Config:
    """Read a config file.

    Args:
        path: The file, see :func:`~semidff.utils.installed.installed_file`.
        cfg_options: Settings that replace those of the file.

    Raises:
        ConfigError: If there is no such file, or an option is of no setting.
    """
    path = installed_file(path)
    config = read_file(path)
    known = config.keys() | RUNNER_SETTINGS
    for key in cfg_options or {}:
        name = key.split('.')[0]
        if name not in known or not name:
            close = difflib.get_close_matches(name, known, 1)
            raise ConfigError(
                f'--cfg-options {key}: {path} has no setting {name!r}'
                + (f'; did you mean {close[0]!r}?' if close else '')
            )
    config.merge_from_dict(cfg_options or {})
    return config


def check_settings(config: Config) -> None:
    """Refuse settings with which a run would start but not succeed, and outputs that the config names as inputs.

    Raises:
        ConfigError: There is no model, or a setting is impossible; the message has the key and the value.
        FileError: An output of the tool is one of the files that the config names.
    """
    if 'model' not in config:
        source = getattr(config, 'filename', None) or 'the config'
        raise ConfigError(f'{source}: has no model; give the config of a training or of a test')
    check_kinds(config)
    import_extras(config)
    check_inputs(files_of(config))
    train = config.get('train_cfg') or {}
    for key in ('max_iters', 'max_epochs'):
        value = train.get(key, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f'train_cfg.{key} is {value!r}; it must be an integer of at least 1')
    model = config.get('model')
    nested = (
        {'model': model} | {f'model.{key}': model.get(key) for key in ('detector', 'teacher')}
        if model
        else {}
    )
    for key, part in nested.items():
        preprocessor = part.get('data_preprocessor') or {} if isinstance(part, dict) else {}
        for name, low in (('std', 0), ('mean', -math.inf)):
            values = preprocessor.get(name)
            values = () if values is None else values
            values = values if isinstance(values, list | tuple) else [values]
            if not all(isinstance(v, int | float) and low < v < math.inf for v in values):
                raise ConfigError(
                    f'{key}.data_preprocessor.{name} is {values}; give finite numbers'
                    + (' above 0' if low == 0 else '')
                )
    check_values(config)


def files_of(config: Config) -> Iterator[str]:
    """Yield the existing files and folders that a config is made of or names, but for those that a run writes."""
    text = getattr(config, 'text', None) or ''
    yield from (line for line in text.splitlines() if line.endswith('.py') and os.path.isfile(line))
    for key, value in settings_of(config):
        if isinstance(value, dict) and isinstance(value.get('data_root'), str):
            named = [value.get('ann_file'), *(value.get('data_prefix') or {}).values()]
            paths = [str(Path(value['data_root'], name)) for name in named if isinstance(name, str)]
        else:
            paths = [value] if isinstance(value, str) else []
        if key.rpartition('.')[2] not in ('type', 'work_dir', 'out_dir', 'save_dir', 'outfile'):
            yield from filter(os.path.exists, paths)


def build_model(config: str | Path | Config, keep_checkpoint: bool = False) -> nn.Module:
    """Build a config's model on the CPU.

    ``init_weights()`` is not called, since it may read or download pre-trained weights.

    Args:
        config: A config or its file. A detector that it names is replaced by its config.
        keep_checkpoint: Whether to load the image detector's checkpoint that the config names
            (``model.checkpoint``). If not, the setting is removed, since it may name a file that is needed no longer.

    Returns:
        The model, with the config as ``model.cfg``.

    Raises:
        ConfigError: If there is no such file, or no model in it.
    """
    if isinstance(config, str | Path):
        config = read_config(config)
    check_settings(config)
    init_default_scope(config.get('default_scope', 'mmdet'))
    if config.get('data_preprocessor'):  # as mmengine's Runner does
        config.model.setdefault('data_preprocessor', config.data_preprocessor)
    resolve_detector(config, keep_checkpoint)
    model = MODELS.build(config.model)
    model.cfg = config
    return model


def build_video_detector(path: str | Path, cfg_options: dict | None = None) -> nn.Module:
    """Build a config's video detector, always with the same random weights.

    Raises:
        ConfigError: If the config has no video detector, but an image detector for example.
    """
    torch.manual_seed(0)
    model = build_model(read_config(path, cfg_options))
    if not hasattr(model, 'has_temporal'):
        raise ConfigError(
            f'{path}: {type(model).__name__} has no temporal module; give a stage-two config'
        )
    return model


def num_classes_of(model: nn.Module) -> dict[str, int]:
    """Return the number of classes of each head that predicts classes, by the head's name in the model."""
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
    """Return whether a config's ``type`` is a class derived from ``base``, or the registered name of one."""
    kind = config.get('type', '')
    kind = kind if isinstance(kind, type) else MODELS.get(kind)
    return isinstance(kind, type) and issubclass(kind, base)
