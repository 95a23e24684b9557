"""Strict loading of checkpoints: every weight of a module must be there and fit, or nothing is loaded."""

import copy
import hashlib
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from .atomic_write import atomic_path
from .error_messages import count_problems, first_names, short
from .files import installed_file, without_secrets
from .logs import log_warning
from .model_building import unwrapped
from .safe_loading import CheckpointError, readable

DETECTOR = 'spatial.detector.'
"""Prefix of the spatial module's weights in the checkpoint of a video detector."""

TRAINING_ONLY = ('teacher_task.', 'teacher_features.')
"""Parts of a stage-two checkpoint that inference does not need."""


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """Read the weights of a checkpoint: of mmengine, a state dict, itself or as an entry, or safetensors.

    Args:
        path: A file, a name as of :func:`~semidff.utils.files.installed_file`, or a URL that mmengine's
            ``CheckpointLoader`` supports.

    Returns:
        Weights on the CPU, without the prefix ``module.`` of parallel wrappers, and the checkpoint's ``meta``. Averaged
        copies of the weights (EMA) are returned if there are no others.
    """
    given, path = path, installed_file(path)
    shown = without_secrets(path)
    if '://' not in path and not Path(path).is_file():
        raise CheckpointError(f'{given}: there is no such checkpoint file')
    with readable(shown):
        content = CheckpointLoader.load_checkpoint(str(path), 'cpu', logger='silent')
    state = weights_in(content)
    if not state:
        raise CheckpointError(
            f"{shown}: holds no weights (a 'state_dict' of tensors); give a checkpoint made by "
            'tools/train.py or by mmdetection'
        )
    meta = content.get('meta') if state is not content else None
    meta = meta if isinstance(meta, dict) else {}
    return {key.removeprefix('module.'): value for key, value in state.items()}, meta


def save_weights(path: str | Path, state: dict[str, Tensor], meta: dict) -> None:
    """Write a checkpoint atomically, without what inference does not need."""
    kept = {key: value for key, value in state.items() if not key.startswith(TRAINING_ONLY)}
    with atomic_path(path) as unfinished:
        torch.save(dict(state_dict=kept, meta=meta), unfinished)


def weights_in(content: Any, depth: int = 2) -> dict[str, Tensor]:
    """Return the tensors by name that a checkpoint consists of, or that its entries hold; empty if there are none."""
    if not isinstance(content, Mapping) or not content:
        return {}
    if all(isinstance(v, Tensor) and isinstance(k, str) for k, v in content.items()):
        return content
    usual = 'state_dict', 'model'
    names = sorted(content, key=lambda name: ('ema' in str(name).lower(), name not in usual))
    found = (weights_in(content[name], depth - 1) for name in names if depth)
    return next(filter(None, found), {})


def stored_classes(meta: Mapping) -> tuple[str, ...]:
    """Return the class names in a checkpoint's ``meta``; empty if there are none."""
    trained_on = {key.lower(): value for key, value in (meta.get('dataset_meta') or {}).items()}
    names = trained_on.get('classes', meta.get('CLASSES'))
    names = () if names is None else names
    return (names,) if isinstance(names, str) else tuple(map(str, names))


def check_class_order(path: str | Path, meta: Mapping, classes: Sequence[str]) -> None:
    """Raise :class:`CheckpointError` if the classes of the data are those of a checkpoint in another order."""
    own = stored_classes(meta)
    if own != tuple(classes) and sorted(own) == sorted(classes):
        raise CheckpointError(
            f'{without_secrets(path)}: was trained with the classes in the order {short(own)}, the data has '
            f'{short(tuple(classes))}; set metainfo=dict(classes=...) of the test data set to the order of the '
            'checkpoint'
        )


def load_strict(
    module: nn.Module,
    path: str | Path,
    what: str = 'model',
    prefix: str = '',
    ignore: Sequence[str] = (),
    state: dict[str, Tensor] | None = None,
) -> None:
    """Load a module from a checkpoint, all of its weights or none.

    Only ``num_batches_tracked`` of batch normalization may be missing. Modules of mmdet and mmcv rename weights of
    older versions in loading. Buffers that are not saved any more, such as the preprocessor's mean and standard
    deviation in published checkpoints, must be the module's own. A part that the module does not have, such as an
    auxiliary head, is left out with a warning if everything else fits.

    Args:
        prefix: Name of the module in the checkpoint, for example ``spatial.detector``; other keys are disregarded.
            What wrappers put ahead of it (``_orig_mod.``, ``model.``) is found by the module's own names.
        ignore: Prefixes of keys (after ``prefix``) that may be missing or unexpected.
        state: The weights of the checkpoint, if they have been read already.
    """
    state = read_checkpoint(path)[0] if state is None else state
    path, wanted, ignore = without_secrets(path), module.state_dict(), tuple(ignore)
    given, others = own_weights(state, wanted, path, prefix)
    given = {key: value for key, value in given.items() if not key.startswith(ignore)}
    misfits = {
        key: f'{key} {tuple(value.shape)} instead of {tuple(wanted[key].shape)}'
        for key, value in given.items()
        if key in wanted and value.shape != wanted[key].shape
    }
    unfit = f'{path}: does not fit the {what} ({type(module).__name__}): '
    try:
        missing, unexpected = _incompatible(module, given | {key: wanted[key] for key in misfits})
    except RuntimeError as error:  # a weight that is renamed in loading has another shape
        raise CheckpointError(unfit + ' '.join(str(error).split())) from error
    problems = {
        'not finite': [key for key, value in given.items() if not value.isfinite().all()],
        'missing in the checkpoint': [key for key in missing if not key.startswith(ignore)],
        'of another shape': list(misfits.values()),
    }
    own = {name for name, _ in module.named_children()}
    # As mmcv names averaged copies: ema_backbone_conv1_weight.
    flat = {key.replace('.', '_') for key in wanted}
    foreign = [
        key
        for key in unexpected
        if ('.' in key and key.split('.')[0] not in own) or key.partition('_')[2] in flat
    ]
    if foreign != unexpected or any(problems.values()):
        problems['not part of the model'], foreign = unexpected, []
    if text := count_problems(problems):
        raise CheckpointError(
            f'{unfit}{text}. Give a checkpoint of a training with this config, or the config it was made with'
        )
    if left_out := foreign + others:
        log_warning(f'{path}: not part of the {what}, left out: {first_names(left_out)}')
    module.load_state_dict({k: v for k, v in given.items() if k not in foreign}, strict=False)
    count = len(given) - len(foreign)
    print_log(f'Loaded {what} ({count} tensors) from {path}', logger='current')


def own_weights(
    state: Mapping[str, Tensor], wanted: Collection[str], path: str | Path, prefix: str = ''
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights of a checkpoint by the names of a module, and the other keys; those only without ``prefix``.

    Args:
        wanted: The module's names of weights.
        prefix: See :func:`load_strict`.
    """
    last = f'{prefix.rstrip(".")}.' if prefix else ''
    counts = Counter(
        key[: -len(own)]
        for key in state
        for own in (key, *(key[dot.end() :] for dot in re.finditer(r'\.', key)))
        if own in wanted
    )
    # Names of some weights are of older versions.
    complete = [
        p for p, n in counts.items() if 2 * n > len(wanted) and f'.{p}'.endswith(f'.{last}')
    ]
    first = max(map(counts.get, complete), default=0)
    found = [one for one in complete if counts[one] == first]
    found = [one for one in found if 'ema' not in one] or found
    if len(found) > 1 and '' not in found:
        raise CheckpointError(
            f'{path}: holds the weights several times ({", ".join(found)}); save one of them alone'
        )
    ahead = '' if '' in found else (*found, last)[0]
    given = {k.removeprefix(ahead): v for k, v in state.items() if k.startswith(ahead)}
    return given, [] if prefix else [key for key in state if not key.startswith(ahead)]


def _incompatible(module: nn.Module, given: dict[str, Tensor]) -> tuple[list[str], list[str]]:
    """Return the keys that a module misses and those that do not fit it; nothing is loaded."""
    if given.keys() == module.state_dict().keys():
        return [], []
    found = copy.deepcopy(module).load_state_dict(given, strict=False)
    buffers = dict(module.named_buffers())

    def is_own(key: str) -> bool:
        own, value = buffers.get(key), given[key].cpu()
        return (
            own is not None
            and own.shape == value.shape
            and torch.allclose(value, own.cpu().to(value.dtype))
        )

    missing = [key for key in found.missing_keys if not key.endswith('num_batches_tracked')]
    return missing, [key for key in found.unexpected_keys if not is_own(key)]


def load_for_test(
    model: nn.Module,
    path: str | Path,
    needs_temporal: bool | None,
    state: dict[str, Tensor] | None = None,
) -> None:
    """Load the weights that a method of the video engine needs.

    Methods that run the temporal module need the whole video detector. All others, and a temporal module without
    weights (optical flow of OpenCV), need only its spatial module, from a checkpoint of stage two or of stage one.

    Args:
        model: A ``VideoDetector`` or an image detector, possibly in a parallel wrapper.
        needs_temporal: Whether the method runs the model's own temporal module, see
            :attr:`~semidff.inference.methods.VideoMethod.uses_temporal`. None for a model that is no video detector:
            it needs all weights.
        state: The weights of the checkpoint, if they have been read already.
    """
    model = unwrapped(model)
    state = read_checkpoint(path)[0] if state is None else state
    if needs_temporal is None:
        load_strict(model, path, state=state)
        return
    of_video_detector = any(f'.{DETECTOR}' in f'.{key}' for key in state)
    temporal = getattr(model, 'temporal', None)
    if needs_temporal and (temporal is None or temporal.state_dict()):
        if not of_video_detector:
            raise CheckpointError(
                f'{without_secrets(path)}: is the checkpoint of an image detector (keys such as '
                f'{next(iter(state))!r}), but this method needs a temporal module. Give a '
                'stage-two checkpoint, or choose --method frame, track, small, copy, interpolate or '
                'sff-fast'
            )
        load_strict(model, path, 'video detector', ignore=TRAINING_ONLY, state=state)
        return
    detector = model.spatial.detector if hasattr(model, 'spatial') else model
    prefix = DETECTOR if of_video_detector else ''
    load_strict(detector, path, 'spatial module', prefix=prefix, state=state)


def detector_digest(path: str | Path) -> str:
    """Hash a detector's weights, alone or as the spatial module of a video detector, with the same result."""
    state = read_checkpoint(path)[0]
    own = {k.removeprefix(DETECTOR): v for k, v in state.items() if k.startswith(DETECTOR)}
    return weights_digest(own or state)


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """Hash weights by name."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(f'{name} {value.dtype} {tuple(value.shape)}'.encode())
        digest.update(value.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
