"""Weights and metadata of checkpoint files."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from semidff.utils.atomic_write import atomic_path
from semidff.utils.error_messages import short
from semidff.utils.files import installed_file, without_secrets

from .safe import CheckpointError, readable

DETECTOR = 'spatial.detector.'
"""Prefix of the spatial module's weights in the checkpoint of a video detector."""

TRAINING_ONLY = ('teacher_task.', 'teacher_features.')
"""Parts of a stage-two checkpoint that inference does not need."""


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """Read the weights of a checkpoint of mmengine or PyTorch, or of safetensors.

    Args:
        path: A file, a name as of :func:`~semidff.utils.files.installed_file`, or a URL that
            mmengine's ``CheckpointLoader`` supports.

    Returns:
        Weights on the CPU, without the prefix ``module.`` of parallel wrappers, and the
        checkpoint's ``meta``. Averaged copies of the weights (EMA) are returned if there are no
        others.
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
    """Return the tensors by name in a checkpoint or its entries; empty without tensors."""
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
    """Raise :class:`CheckpointError` if data and checkpoint order the same classes differently."""
    own = stored_classes(meta)
    if own != tuple(classes) and sorted(own) == sorted(classes):
        raise CheckpointError(
            f'{without_secrets(path)}: was trained with the classes in the order {short(own)}, the '
            f'data has {short(tuple(classes))}; set metainfo=dict(classes=...) of the test data '
            'set to the order of the checkpoint'
        )


def detector_digest(path: str | Path) -> str:
    """Hash a detector's weights; those within a video detector have the same hash."""
    state = read_checkpoint(path)[0]
    own = {k.removeprefix(DETECTOR): v for k, v in state.items() if k.startswith(DETECTOR)}
    return weights_digest(own or state)


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """Hash weights by name."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(f'{name} {value.dtype} {tuple(value.shape)}'.encode())
        digest.update(value.detach().cpu().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
