"""Configs of the detector, its training and the resulting video detector."""

import copy
import os
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from semidff.checkpoints.detectors import (
    imports_of,
    inner_dataset,
    read_detector,
    transform_name,
)
from semidff.checkpoints.read import read_checkpoint, save_weights
from semidff.datasets.class_names import class_names
from semidff.models.spatial.head_splits import non_key_settings
from semidff.utils.atomic_write import atomic_path
from semidff.utils.configs import read_config

from .folder import AdaptError, Data, Network

_SCHEDULE = 'semidff::_base_/schedules/adam_two_step.py'
_FLOW = 'semidff::pretrained/flownet-s-eighth_synthetic.pth'  # trained for optical flow
_FLOW_PART = 'temporal.flow_network'
WIDTH = 1 / 8  # of FlowNetS
_WINDOW = 20  # frames
_PAIRS, _INTERLEAVE = 8, 8  # pairs of a window, windows that alternate
PAIRS_AT_ONCE = _PAIRS * _INTERLEAVE
# The temporal module must not learn what the training videos happen to show (docs/training.md).
_TRAVELS = dict(scale_bound=0.4, shared_classes=True, gated=True)
_LONGEST = 19  # frames, of the intervals of a training
RATIOS = 0.5, 1.0  # of the detector's input size, between which large frames are resized


def detector_config(name: str) -> Config:
    """Read the config of an image detector, with its test data as ``detector_dataset``."""
    own = read_detector(name, warn=False)
    for part in ('test_dataloader', 'val_dataloader'):
        dataset = inner_dataset((own.get(part) or {}).get('dataset') or {})
        if dataset.get('pipeline'):
            kept = ('type', '_scope_', 'metainfo', 'pipeline')
            own.detector_dataset = {key: dataset[key] for key in kept if key in dataset}
            own.pop('test_dataloader', None)
            return own
    raise AdaptError(f'{name}: has no test pipeline (test_dataloader.dataset.pipeline)')


def untrained_config(own: Config) -> Config:
    """Return the whole config of the detector itself."""
    config = copy.deepcopy(own)
    config.custom_imports = dict(imports=_imports(own))
    hooks = config.get('default_hooks') or {}
    config.default_hooks = dict(hooks, channels_last=dict(type='ChannelsLastHook'))
    return config


def _imports(own: Config) -> list[str]:
    return list(dict.fromkeys((*imports_of(own), 'semidff.registry')))


def model_config(own: Config, checkpoint: str, network: Network, kind: str) -> dict:
    """Return the config of a video detector.

    Args:
        own: Result of :func:`detector_config`, here and below.
        kind: ``SemiDFF`` for training, ``VideoDetector`` for measurements.
    """
    return dict(
        type=kind,
        detector=copy.deepcopy(own.model),
        checkpoint=checkpoint,
        split=dict(type=network.split),
        non_key_test_cfg=non_key_settings(network.split, own.model.get('test_cfg')),
        temporal=dict(
            type='TemporalModule',
            flow_network=dict(
                type='FlowNetS',
                width=WIDTH,
                downsampling=network.downsampling,
                stride=max(network.flow_stride, 4 * network.downsampling),
            ),
            init_std=None,
            correction_width=network.correction_width,
            current_width=network.current_width,
            **_TRAVELS,
            with_scale=not network.correction_width,  # a correction can do the same
        ),
    )


def training_pipeline(own: Config, data: Data, strides: Sequence[float]) -> list[dict]:
    """Return the pipeline of pairs: the geometric part of the detector's test pipeline, then crops
    and flips.

    Frames that are cropped are resized to half of the detector's input size and more: objects and
    their motion are smaller then, crops show more of them, and iterations take less time. Frames
    whose features are kept have two sizes and are not flipped, so that they recur. Frames that the
    detector pads are not resized: their crops leave out the padding, from which nothing is learned.
    """
    shared = [
        _for_pairs(dict(step))
        for step in own.detector_dataset['pipeline']
        if not transform_name(step).startswith(('Load', 'Pack'))
    ]
    if data.crop:
        paddings = [n for n, step in enumerate(shared) if is_padding(step)]
        if not paddings:
            shared = [_smaller(step, data.feature_cache > 0) for step in shared]
        crop = dict(type='RandomCrop', crop_size=tuple(data.crop))
        if data.feature_cache:
            crop.update(type='RandomCropWindow', divisor=int(max(strides)))
        shared.insert(min(paddings, default=len(shared)), crop)
    if not data.feature_cache:
        shared.append(dict(type='RandomFlip', prob=0.5))
    broadcast = dict(
        type='TransformBroadcaster', auto_remap=True, share_random_params=True, transforms=shared
    )
    return [*([broadcast] if shared else []), dict(type='PackFramePair')]


def is_padding(step: dict) -> bool:
    return transform_name(step).endswith('Pad')


def _for_pairs(step: dict) -> dict:
    """Replace the padding of CenterNet and CornerNet, which mmcv does not share among images."""
    if transform_name(step) != 'RandomCenterCropPad':
        return step
    mode, number = step.get('test_pad_mode', ('logical_or', 127))
    return dict(type='mmdet.Pad', size_divisor=number + 1 if mode == 'logical_or' else number)


def _smaller(step: dict, two_sizes: bool) -> dict:
    scale = step.get('scale')
    if transform_name(step) != 'Resize' or not isinstance(scale, list | tuple):
        return step
    kept = {key: value for key, value in step.items() if key not in ('type', 'scale')}
    if two_sizes:
        scales = [tuple(round(ratio * side) for side in scale) for ratio in RATIOS]
        return dict(type='RandomChoiceResize', scales=scales, **kept)
    return dict(type='RandomResize', scale=tuple(scale), ratio_range=RATIOS, **kept)


def training_config(own: Config, network: Network, data: Data, folder: Path, device: str) -> Config:
    """Return the whole config of a training, which needs the detector and the list of videos in the
    folder alone.

    Args:
        device: Device of the training; there are data workers beside a GPU only.
    """
    config, schedule = map(read_config, ('semidff::_base_/default_runtime.py', _SCHEDULE))
    steps = [step for step in schedule.train_cfg.steps if step.name in network.steps]
    for step in steps:
        step.param_scheduler[0].eta_max = schedule.optim_wrapper.optimizer.lr
    workers = 0 if device == 'cpu' else min(4, (os.cpu_count() or 1) - 1)
    model = model_config(own, str(folder / 'detector.pth'), network, 'SemiDFF')
    model |= dict(both_directions=True, feature_cache=data.feature_cache)
    dataset = dict(
        type='UnlabeledVideoDataset',
        ann_file=str(folder / 'training' / 'videos.txt'),
        portion=data.portion,
        interval=dict(type='UniformInterval', low=1, high=_LONGEST),
        window=_WINDOW,
        pairs_per_window=_PAIRS,
        interleave=_INTERLEAVE,
        cache_bytes=data.cache_bytes,
        pipeline=training_pipeline(own, data, network.strides),
    )
    config.merge_from_dict(
        dict(
            custom_imports=dict(imports=_imports(own)),
            model=model,
            randomness=dict(seed=0),
            load_parts=dict(flow=dict(part=_FLOW_PART, prefix=_FLOW_PART, checkpoint=_FLOW)),
            detector_dataset=own.detector_dataset,
            train_dataloader=dict(
                batch_size=data.batch_size,
                num_workers=workers,
                persistent_workers=workers > 0,
                sampler=dict(type='StreamSampler'),
                dataset=dict(type='SampleStream', dataset=dataset),
            ),
            optim_wrapper=schedule.optim_wrapper,
            train_cfg=dict(steps=steps),
        )
    )
    return config


def write_detector(own: Config, checkpoint: str, folder: Path) -> None:
    """Write ``detector.pth``, the weights of an image detector.

    Args:
        own: Result of :func:`detector_config`.
    """
    state, meta = read_checkpoint(checkpoint)
    meta = dict(dataset_meta=dict(classes=class_names(own, meta)))
    save_weights(folder / 'detector.pth', state, meta)


def write_config(config: Config, path: Path) -> None:
    with atomic_path(path) as unfinished:
        config.dump(unfinished)
