"""Model and pipeline of a config, for frames in memory."""

import copy
import warnings
from collections.abc import Sequence

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.registry import MODELS
from torch import nn

from semidff.engine.checkpoint import CheckpointError, load_for_test, read_checkpoint

from .class_names import class_names


def build_model(
    cfg: Config | ConfigDict,
    weights: str | None,
    device: str,
    method: str,
    classes: Sequence[str] | None = None,
) -> nn.Module:
    """A config's model as ``tools/test.py`` has it, with its class names in ``dataset_meta``.

    Args:
        cfg (Config): The config; if it is empty, the one in the checkpoint is put into it.
        weights (str | None): The checkpoint; None: random weights, with a warning.
        device (str): Where the model goes.
        method (str): A method of :class:`~semidff.inference.VideoEngine`; says which weights are
            needed.
        classes (Sequence[str] | None): Class names; None looks for them.

    Raises:
        CheckpointError: The checkpoint does not fit, or has no config where none is given.
    """
    state, meta = (None, {}) if weights is None else read_checkpoint(weights)
    if not cfg:
        cfg.update(_config_in(meta, weights))
    model = MODELS.build(cfg.model)
    if weights is None:
        warnings.warn('no weights are given: the results are those of random ones', stacklevel=2)
    else:
        load_for_test(model, weights, method, state)
    names = tuple(classes or class_names(cfg, meta))
    model.cfg, model.dataset_meta = cfg, dict(classes=names)
    if _wants_channels_last(cfg):
        model.to(memory_format=torch.channels_last)
    return revert_sync_batchnorm(model).to(device).eval()


def frame_pipeline(cfg: Config | ConfigDict) -> Compose:
    """A config's test pipeline with the frame in ``results['img']``.

    Raises:
        ValueError: The config has no test pipeline, or one that loads no image.
    """
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    steps = copy.deepcopy(list(dataset.get('pipeline') or ()))
    kinds = [str(step['type']).rpartition('.')[2] for step in steps]
    if 'LoadImageFromFile' not in kinds:
        raise ValueError(
            f'test_dataloader.dataset.pipeline of the config has no LoadImageFromFile, only {kinds}'
        )
    at = kinds.index('LoadImageFromFile')
    as_float = steps[at].get('to_float32', False)
    steps[at] = dict(type='mmdet.LoadImageFromNDArray', to_float32=as_float)
    # a video has no labels
    return Compose([s for s, k in zip(steps, kinds, strict=True) if k != 'LoadAnnotations'])


def _config_in(meta: dict, weights: str | None) -> ConfigDict:
    """The config that a checkpoint of a training holds."""
    if 'cfg' not in meta:
        raise CheckpointError(f'{weights}: holds no config; give the one it was trained with')
    return Config.fromstring(meta['cfg'], file_format='.py')._cfg_dict


def _wants_channels_last(cfg: Config | ConfigDict) -> bool:
    """Whether tests of this config have ``ChannelsLastHook``, which concerns the last digits."""
    hooks = [*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or ())]
    return any(hook and hook.get('type') == 'ChannelsLastHook' for hook in hooks)
