"""Strict loading of checkpoints: every weight must be there and fit."""

import copy
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from semidff.utils.error_messages import count_problems, first_names
from semidff.utils.files import without_secrets
from semidff.utils.logs import log_warning

from .building import unwrapped
from .read import DETECTOR, TRAINING_ONLY, read_checkpoint
from .safe import CheckpointError


def load_strict(
    module: nn.Module,
    path: str | Path,
    what: str = 'model',
    prefix: str = '',
    ignore: Sequence[str] = (),
    state: dict[str, Tensor] | None = None,
) -> None:
    """Load a module from a checkpoint, all of its weights or none.

    Only ``num_batches_tracked`` of batch normalization may be missing. Modules of mmdet and mmcv
    rename weights of older versions in loading. Buffers that are not saved any more, such as the
    preprocessor's mean and standard deviation in published checkpoints, must equal the module's. A
    part that the module does not have, such as an auxiliary head, is left out with a warning if
    everything else fits.

    Args:
        prefix: Name of the module in the checkpoint, for example ``spatial.detector``; other keys
            are disregarded. What wrappers put ahead of it (``_orig_mod.``, ``model.``) is found by
            the module's own names.
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
            f'{unfit}{text}. Give a checkpoint of a training with this config, or the config it '
            'was made with'
        )
    if left_out := foreign + others:
        log_warning(f'{path}: not part of the {what}, left out: {first_names(left_out)}')
    module.load_state_dict({k: v for k, v in given.items() if k not in foreign}, strict=False)
    count = len(given) - len(foreign)
    print_log(f'Loaded {what} ({count} tensors) from {path}', logger='current')


def load_for_test(
    model: nn.Module,
    path: str | Path,
    needs_temporal: bool | None,
    state: dict[str, Tensor] | None = None,
) -> None:
    """Load the weights that a method of the video engine needs.

    Methods that run the temporal module need the whole video detector. All others, and a temporal
    module without weights (optical flow of OpenCV), need only its spatial module, from a checkpoint
    of stage two or of stage one.

    Args:
        model: A ``VideoDetector`` or an image detector, possibly in a parallel wrapper.
        needs_temporal: Whether the method runs the model's own temporal module, see
            :attr:`~semidff.inference.methods.VideoMethod.uses_temporal`. None for a model that is
            no video detector: it needs all weights.
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
                'stage-two checkpoint, or choose a method that needs none, such as --method track'
            )
        load_strict(model, path, 'video detector', ignore=TRAINING_ONLY, state=state)
        return
    detector = model.spatial.detector if hasattr(model, 'spatial') else model
    prefix = DETECTOR if of_video_detector else ''
    load_strict(detector, path, 'spatial module', prefix=prefix, state=state)


def own_weights(
    state: Mapping[str, Tensor], wanted: Collection[str], path: str | Path, prefix: str = ''
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights with a module's names, and, without ``prefix``, the other keys.

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
    """Return the missing and the unexpected keys of a module without loading anything."""
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
