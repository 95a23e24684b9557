"""Strict loading of checkpoints: all that a module needs is there and fits, else nothing loads."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from .safe_loading import CheckpointError, load_file

DETECTOR = 'spatial.detector.'
"""Where the spatial module's weights are in a video detector's checkpoint."""

TRAINING_ONLY = ('teacher_task.',)
"""Parts of a stage-two checkpoint that inference does not need."""

SHOWN = 4  # keys quoted in an error


def check_exists(path: str | Path) -> None:
    """Raises :class:`CheckpointError` if a local checkpoint file is missing; addresses pass."""
    if '://' not in str(path) and not Path(path).is_file():
        raise CheckpointError(f'{path}: there is no such checkpoint file')


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Reads the weights of a checkpoint, see :func:`read_checkpoint`."""
    return read_checkpoint(path)[0]


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """Reads a checkpoint of mmengine or a bare state dict.

    Args:
        path (str | Path): A file, or an address that mmengine's ``CheckpointLoader`` knows.

    Returns:
        tuple[dict[str, Tensor], dict]: Weights on the CPU, without the prefix ``module.`` of parallel wrappers, and
        what the checkpoint says about itself.

    Raises:
        CheckpointError: If there is no such file, or no weights in it.
    """
    if '://' in str(path):
        checkpoint = CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
    else:
        check_exists(path)
        checkpoint = load_file(path, map_location='cpu')
    state = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else None
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(
            f"{path}: holds no weights (a 'state_dict' of tensors); give a checkpoint made by "
            'tools/train.py or by mmdetection'
        )
    meta = checkpoint.get('meta') if 'state_dict' in checkpoint else None
    return {key.removeprefix('module.'): value for key, value in state.items()}, meta or {}


def load_strict(
    module: nn.Module,
    path: str | Path,
    what: str = 'model',
    prefix: str = '',
    ignore: Sequence[str] = (),
    state: dict[str, Tensor] | None = None,
) -> None:
    """Loads a module from a checkpoint; every weight must be there and fit.

    Nothing is loaded when anything is wrong.  Batch norm's ``num_batches_tracked`` may be missing.

    Args:
        module (nn.Module): Where the weights go.
        path (str | Path): The checkpoint.
        what (str): The module's name in messages.
        prefix (str): What the module is called in the checkpoint (``spatial.detector``, say): only
            keys below it are used, without it; the others are of no concern.  Empty: all are.
        ignore (Sequence[str]): Beginnings of keys (after ``prefix``) that may be missing in the
            checkpoint or left over.
        state (dict | None): The checkpoint's weights where they have been read already.

    Raises:
        CheckpointError: If the file cannot be read, or keys are missing, left over or of another
            shape; the message names some.
    """
    state = read_state_dict(path) if state is None else state
    prefix = f'{prefix.rstrip(".")}.' if prefix else ''
    given = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    given = _without(given, ignore)
    wanted = module.state_dict()
    needed = _without({k: v for k, v in wanted.items() if not _optional(k)}, ignore)
    misfits = [
        f'{key} {tuple(value.shape)} instead of {tuple(wanted[key].shape)}'
        for key, value in given.items()
        if key in wanted and value.shape != wanted[key].shape
    ]
    problems = [
        _listed('missing in the checkpoint', [key for key in needed if key not in given]),
        _listed('not part of the model', [key for key in given if key not in wanted]),
        _listed('of another shape', misfits),
    ]
    if any(problems):
        raise CheckpointError(
            f'{path}: does not fit the {what} ({type(module).__name__}): '
            + '; '.join(filter(None, problems))
            + '. Give a checkpoint of a training with this config, or the config it was made with'
        )
    module.load_state_dict(given, strict=False)
    print_log(f'{what}: {len(given)} tensors loaded from {path}', logger='current')


def load_for_test(
    model: nn.Module,
    path: str | Path,
    needs_temporal: bool | None,
    state: dict[str, Tensor] | None = None,
) -> None:
    """Loads what a method of the video engine needs; for other tests, the whole model.

    Methods that run the model's temporal module need the whole video detector.  The other methods,
    and a temporal module without weights (optical flow of OpenCV), need its spatial module alone,
    which may come from a stage-two checkpoint or from one of a plain mmdet detector (stage one).

    Args:
        model (nn.Module): A ``VideoDetector``, or a plain mmdet detector; parallel wrappers too.
        path (str | Path): The checkpoint.
        needs_temporal (bool | None): Whether the test runs the model's own temporal module, see
            :attr:`~semidff.inference.methods.VideoMethod.uses_temporal`; None for a model that is no video detector.
        state (dict | None): The checkpoint's weights where they have been read already.

    Raises:
        CheckpointError: If the checkpoint is not one for this model and method.
    """
    model = model.module if is_model_wrapper(model) else model
    state = read_state_dict(path) if state is None else state
    if needs_temporal is None:
        load_strict(model, path, state=state)
        return
    of_video_detector = any(key.startswith(DETECTOR) for key in state)
    temporal = getattr(model, 'temporal', None)
    weightless = temporal is not None and not temporal.state_dict()
    if needs_temporal and not weightless:
        if not of_video_detector:
            raise CheckpointError(
                f'{path}: the checkpoint of an image detector (keys such as '
                f'{next(iter(state))!r}); this method needs a temporal module. Give a '
                'stage-two checkpoint, or choose --method frame, copy, coast, interpolate or '
                'sff-fast'
            )
        load_strict(model, path, 'video detector', ignore=TRAINING_ONLY, state=state)
        return
    detector = model.spatial.detector if hasattr(model, 'spatial') else model
    prefix = DETECTOR if of_video_detector else ''
    load_strict(detector, path, 'spatial module', prefix=prefix, state=state)


def detector_digest(path: str | Path) -> str:
    """Hash of a detector's weights: the same for it alone and as the spatial module of a video detector.

    Args:
        path (str | Path): The checkpoint.

    Raises:
        CheckpointError: If the file cannot be read.
    """
    state = read_state_dict(path)
    own = {k.removeprefix(DETECTOR): v for k, v in state.items() if k.startswith(DETECTOR)}
    digest = hashlib.sha256()
    for name, value in sorted((own or state).items()):
        digest.update(f'{name} {value.dtype} {tuple(value.shape)}'.encode())
        digest.update(value.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _without(state: dict[str, Tensor], beginnings: Sequence[str]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not key.startswith(tuple(beginnings))}


def _optional(key: str) -> bool:
    return key.rpartition('.')[2] == 'num_batches_tracked'


def _listed(problem: str, keys: list[str]) -> str:
    if not keys:
        return ''
    more = f' and {len(keys) - SHOWN} more' if len(keys) > SHOWN else ''
    return f'{len(keys)} {problem}: {", ".join(keys[:SHOWN])}{more}'
