"""Checkpoints of converters: loading into the model of a config, and joining parts."""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from semidff.checkpoints.read import (
    DETECTOR,
    TRAINING_ONLY,
    read_checkpoint,
    save_weights,
    stored_classes,
)
from semidff.checkpoints.safe import CheckpointError
from semidff.checkpoints.strict import load_strict
from semidff.utils.command_line import Checkpoint, Output

_BELOW = {
    'backbone': (f'{DETECTOR}backbone.',),
    'feature_network': (f'{DETECTOR}backbone.', f'{DETECTOR}neck.'),
    'task_network': (f'{DETECTOR}rpn_head.', f'{DETECTOR}roi_head.'),
    'flow_network': ('temporal.flow_network.',),
    'temporal': ('temporal.flow_network.', 'temporal.scale.', 'temporal.correction.'),
}


def join_checkpoints(part: dict[str, Checkpoint], out: Output) -> str:
    """Join parts of checkpoints, such as a detector, which gives class names, and a flow network.

    Args:
        part: Module of the new checkpoint, file with its weights, and name of the module in that
            file, such as temporal=flow.pth:temporal; without a name, the file holds nothing else.
            Give the option for each part.
        out: Checkpoint to write.

    Returns:
        A report.
    """
    joined: dict[str, Tensor] = {}
    names: dict[tuple[str, ...], str] = {}
    for name, source in part.items():
        checkpoint, _, module = source.partition(':')
        prefix = f'{module}.' if module else ''
        state, meta = read_checkpoint(checkpoint)
        chosen = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if not chosen:
            raise CheckpointError(f'{checkpoint}: no weights under {module!r}')
        joined |= {f'{name}.{key}': value for key, value in chosen.items()}
        # A temporal module detects nothing: the class names of its checkpoint do not matter.
        if (classes := stored_classes(meta)) and name.partition('.')[0] != 'temporal':
            names.setdefault(classes, checkpoint)
    if len(names) > 1:
        listed = ', '.join(f'{file}: {list(classes)}' for classes, file in names.items())
        raise CheckpointError(f'the parts were trained for different classes ({listed})')
    classes = next(iter(names), None)
    save_weights(out, joined, dict(dataset_meta=dict(classes=classes)) if classes else {})
    return f'{out}: {len(joined)} tensors from {len(part)} checkpoints'


def detector_of(model: nn.Module) -> nn.Module:
    """Return the detector of a video detector, or the model itself."""
    return model.spatial.detector if hasattr(model, 'spatial') else model


def load_parts(
    model: nn.Module, state: Mapping[str, Tensor], parts: Sequence[str], source: str | Path
) -> None:
    """Load parts of a video detector, a detector, or a flow pre-training strictly.

    ``state`` has all weights of these ``parts``, keys of ``_BELOW``, with the names of a video
    detector.
    """
    others = {*chain(*_BELOW.values())}.difference(*(_BELOW[part] for part in parts))
    ignore, weights = [*others, *TRAINING_ONLY], dict(state)
    if not hasattr(model, 'spatial') and not hasattr(model, 'temporal'):
        if temporal := [part for part in parts if part in ('temporal', 'flow_network')]:
            raise CheckpointError(
                f'{source}: the model of the config ({type(model).__name__}) is a detector without '
                f'temporal module; leave {", ".join(temporal)} out (--parts), or give the config '
                'of a video detector'
            )
        weights = {key.removeprefix(DETECTOR): value for key, value in state.items()}
        ignore = [key.removeprefix(DETECTOR) for key in ignore]
    load_strict(model, source, 'model of the config', ignore=ignore, state=weights)


def departures(model: dict, style: str, mean: Sequence[float], std: Sequence[float]) -> list[str]:
    """Describe the settings of a model that differ from those with which its weights were trained.

    ``style`` is ``caffe`` (stride on the first 1x1 of a residual unit) or ``pytorch``; mean and std
    are those of red, green and blue.
    """
    notes = []
    detector = model.get('detector', model)
    own_style = detector.get('backbone', {}).get('style', 'pytorch')
    if 'backbone' in detector and own_style != style:
        notes.append(f'backbone.style is {own_style!r}; these weights want {style!r}')
    settings = model.get('data_preprocessor') or detector.get('data_preprocessor') or {}
    wanted = dict(mean=list(mean), std=list(std), bgr_to_rgb=True)
    other = {
        key: settings.get(key)
        for key, value in wanted.items()
        if key not in settings or not np.allclose(settings[key], value, rtol=0, atol=0.01)
    }
    if other:
        notes.append(f'data_preprocessor has {other}; these weights want {wanted}')
    return notes
