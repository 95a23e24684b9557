"""Model and pipeline of a config, for frames in memory."""

import copy
import warnings
from collections.abc import Sequence

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose
from mmengine.model.utils import revert_sync_batchnorm
from torch import nn

from semidff.datasets.class_names import class_names
from semidff.inference.methods import method_class
from semidff.utils.checkpoint import CheckpointError, load_for_test, read_checkpoint
from semidff.utils.model_building import build_model

from . import Acceleration, accelerate


def load_model(
    cfg: Config | ConfigDict,
    weights: str | None,
    device: str,
    method: str,
    classes: Sequence[str] | None = None,
    precision: str | None = None,
    channels_last: bool | None = None,
    compile: bool = False,
) -> nn.Module:
    """Build a config's model for inference, load its weights and set ``cfg`` and ``dataset_meta``.

    Args:
        cfg (Config): The config; if it is empty, the one in the checkpoint is put into it.
        weights (str | None): The checkpoint; None: random weights, with a warning.
        device (str): Where the model goes.
        method (str): A method of :class:`~semidff.inference.VideoEngine`; says which weights are
            needed.
        classes (Sequence[str] | None): Class names; None looks for them.
        precision (str | None): ``fp32``, ``bf16`` or ``fp16``; None is what ``test_cfg.fp16`` of the config says
            (which means bf16 on CPUs, as in ``tools/test.py``).
        channels_last (bool | None): Whether convolutions work on channels-last maps; None: if the config has
            ``ChannelsLastHook``.
        compile (bool): Whether graphs are compiled.

    Raises:
        CheckpointError: The checkpoint does not fit, or has no config where none is given.
        ValueError: There is no such precision.
    """
    state, meta = (None, {}) if weights is None else read_checkpoint(weights)
    if not cfg:
        cfg.update(_config_in(meta, weights))
    model = build_model(cfg)
    if weights is None:
        warnings.warn('no weights are given: the results are those of random ones', stacklevel=2)
    else:
        load_for_test(model, weights, method_class(method).uses_temporal, state)
    model = revert_sync_batchnorm(model).to(device).eval()
    options = Acceleration(
        precision or _precision(cfg, device),
        _wants_channels_last(cfg) if channels_last is None else channels_last,
        compile,
    )
    if options != Acceleration():
        model = accelerate(model, options)
    if next(model.parameters()).is_cuda:
        model.data_preprocessor._non_blocking = True  # frames come in pinned memory
    model.dataset_meta = dict(classes=tuple(classes or class_names(cfg, meta)))
    return model


def frame_pipeline(cfg: Config | ConfigDict, shape: Sequence[int] | None = None) -> Compose:
    """A config's test pipeline with the frame in ``results['img']``.

    Args:
        cfg (Config): The config.
        shape (Sequence[int] | None): Height and width to which frames are stretched, instead of the config's resizing.

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
    if shape is not None:
        steps = [step for step, kind in zip(steps, kinds, strict=True) if 'Resize' not in kind]
        stretch = dict(type='mmdet.Resize', scale=tuple(shape)[::-1], keep_ratio=False)
        steps.insert(at + 1, stretch)
    # a video has no labels
    return Compose([s for s in steps if not str(s['type']).endswith('LoadAnnotations')])


def _config_in(meta: dict, weights: str | None) -> ConfigDict:
    """The config that a checkpoint of a training holds."""
    if 'cfg' not in meta:
        raise CheckpointError(f'{weights}: holds no config; give the one it was trained with')
    return Config.fromstring(meta['cfg'], file_format='.py')._cfg_dict


def _precision(cfg: Config | ConfigDict, device: str) -> str:
    """Precision of a config's tests."""
    if not (cfg.get('test_cfg') or {}).get('fp16', False):
        return 'fp32'
    return 'bf16' if torch.device(device).type == 'cpu' else 'fp16'


def _wants_channels_last(cfg: Config | ConfigDict) -> bool:
    """Whether tests of this config have ``ChannelsLastHook``, which concerns the last digits."""
    hooks = [*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or ())]
    return any(hook and hook.get('type') == 'ChannelsLastHook' for hook in hooks)
