"""Model and test pipeline of a config, for frames in memory."""

import copy
import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose
from mmengine.model.utils import revert_sync_batchnorm

from semidff.checkpoints.building import build_model, num_classes_of
from semidff.checkpoints.detectors import test_datasets, transform_name
from semidff.checkpoints.read import read_checkpoint
from semidff.checkpoints.safe import CheckpointError
from semidff.checkpoints.stored_config import parse_config
from semidff.checkpoints.strict import load_for_test
from semidff.datasets.class_names import class_names

from .acceleration import Acceleration, accelerate
from .executors import Executor
from .point import Point


def load_model(
    cfg: Config | ConfigDict,
    weights: str | None,
    device: str,
    point: Point,
    classes: Sequence[str] | None = None,
    channels_last: bool | None = None,
    compile: bool = False,
    graphs: bool | None = None,
    cache: str | Path | None = None,
    waits: bool = True,
) -> Executor:
    """Build a config's model for inference, load its weights and set ``cfg`` and ``dataset_meta``.

    Args:
        cfg: The config; an empty one is filled with that of the checkpoint.
        weights: The checkpoint; None: random weights with a warning, but for a detector with a
            checkpoint of its own (``model.checkpoint``).
        point: Its method determines the weights needed.
        classes: Class names; default: those of the checkpoint or config.
        channels_last: See :class:`Acceleration`, as ``compile`` and ``graphs``. Default: whether
            the config has ``ChannelsLastHook``.
        cache, waits: See :class:`~semidff.inference.executors.ExportedGraphs`.

    Returns:
        The executor of the model, which is its ``model``.
    """
    state, meta = (None, {}) if weights is None else read_checkpoint(weights)
    if not cfg:
        if 'cfg' not in meta:
            raise CheckpointError(f'{weights}: holds no config; give the one it was trained with')
        cfg.update(parse_config(meta['cfg'], weights))
    model = build_model(cfg, keep_checkpoint=weights is None)
    if weights is not None:
        load_for_test(model, weights, point.uses_temporal, state)
    elif point.uses_temporal or not hasattr(model, 'dataset_meta'):
        part = 'temporal module' if hasattr(model, 'dataset_meta') else 'model'
        warnings.warn(f'no weights are given: the {part} has random weights', stacklevel=2)
    model = revert_sync_batchnorm(model).to(device).eval()
    precision = point.precision
    if precision is None:
        half = 'bf16' if torch.device(device).type == 'cpu' else 'fp16'
        precision = half if (cfg.get('test_cfg') or {}).get('fp16', False) else 'fp32'
    if channels_last is None:  # as in tests with this config: the layout changes the last digits
        hooks = [*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or ())]
        channels_last = any(hook and hook.get('type') == 'ChannelsLastHook' for hook in hooks)
    options = Acceleration(precision, channels_last, compile, graphs, point.runtime)
    executor = accelerate(model, options, cache=cache, waits=waits)
    model = executor.model
    if next(model.parameters()).is_cuda:
        model.data_preprocessor._non_blocking = True  # frames are in pinned memory
    meta = meta or dict(dataset_meta=getattr(model, 'dataset_meta', None))
    classes = tuple(classes or class_names(cfg, meta))
    for name, count in num_classes_of(model).items():
        if classes and len(classes) != count:
            warnings.warn(
                f'the model has num_classes={count} ({name}), but there are {len(classes)} class '
                f'names: {", ".join(classes[:3])}, ...; give classes=("first", "second", ...), '
                'else they are named "class 0", "class 1", ...',
                stacklevel=2,
            )
            classes = ()
    model.cfg, model.dataset_meta = cfg, dict(classes=classes)
    return executor


def frame_pipeline(
    cfg: Config | ConfigDict, shape: Sequence[int] | None = None, scale: float = 1.0
) -> Compose:
    """Return a config's test pipeline for frames in memory, in ``results['img']``.

    Args:
        cfg: The config; without test data, it has the pipeline of its image detector's config.
        shape: Height and width to which frames are resized, in place of the config's resizing.
        scale: Input size relative to that of the config, for height and width.
    """
    dataset = next(iter(test_datasets(cfg)), {})
    steps = copy.deepcopy(list(dataset.get('pipeline') or ()))
    kinds = [transform_name(step) for step in steps]
    if 'LoadImageFromFile' not in kinds or 'TestTimeAug' in kinds:
        raise ValueError(
            f'test_dataloader.dataset.pipeline of the config is {kinds}, but frames need one with '
            'LoadImageFromFile and without TestTimeAug'
        )
    at = kinds.index('LoadImageFromFile')
    if 'grayscale' in (color := steps[at].get('color_type', 'color')):
        raise ValueError(
            'test_dataloader.dataset.pipeline of the config loads images with '
            f'color_type={color!r}, but frames have three channels: give a detector for color '
            'images'
        )
    as_float = steps[at].get('to_float32', False)
    steps[at] = dict(type='mmdet.LoadImageFromNDArray', to_float32=as_float)
    if shape is not None:
        steps = [step for step, kind in zip(steps, kinds, strict=True) if 'Resize' not in kind]
        steps.insert(at + 1, dict(type='mmdet.Resize', scale=tuple(shape)[::-1], keep_ratio=False))
    # videos have no labels
    labels = ('Annotations', 'LoadLabelMap')
    steps = [step for step in steps if not str(step['type']).endswith(labels)]
    return Compose(steps if scale == 1 else scaled(steps, scale, at))


def pair(value: float | Sequence[float]) -> tuple:
    """Return the values for width and height of a setting that may be one number for both."""
    return tuple(value) if isinstance(value, list | tuple) else (value, value)


def scaled(steps: list[dict], scale: float, loading: int = -1) -> list[dict]:
    """Multiply the input size of a pipeline in place; padding to a fixed size stays a multiple of
    32 pixels.

    Args:
        loading: Where the image is loaded, after which a missing ``Resize`` is inserted.
    """
    resizes = [step for step in steps if 'Resize' in str(step['type'])]
    if not resizes:
        resizes = [dict(type='mmdet.Resize', scale_factor=1.0, keep_ratio=True)]
        steps.insert(loading + 1, resizes[0])
    for step in resizes:
        if step.get('scale') is not None:
            step['scale'] = tuple(max(1, round(side * scale)) for side in pair(step['scale']))
        elif 'width' in step:  # FixShapeResize
            step.update({side: max(1, round(step[side] * scale)) for side in ('width', 'height')})
        else:
            step['scale_factor'] = tuple(one * scale for one in pair(step['scale_factor']))
    for step in steps:
        if transform_name(step) == 'Pad' and step.get('size'):
            step['size'] = tuple(32 * math.ceil(side * scale / 32) for side in step['size'])
        if 'meta_keys' in step:  # a pipeline without Resize (CenterNet) may leave it out
            step['meta_keys'] = (*step['meta_keys'], 'scale_factor')
    return steps
