"""Conversion of checkpoints of mmtracking's DFF and FlowNetSimple.

mmtracking's DFF consists of a detector of mmdetection (``detector.*``, with the names of mmdetection 3) and a FlowNetS
(``motion.*``):

============================  ==================  =======================================
mmtracking                    ours                layer
============================  ==================  =======================================
``conv1.0.conv``              ``conv1``           encoder; the second of a stage is
``conv3.1.conv``              ``conv3_1``         ``conv3.1`` there and ``conv3_1`` here
``predict_flow6.conv`` .. 3   ``predict0`` .. 3   flow, coarse to fine, without bias
``deconv5.conv`` .. 2         ``deconv0`` .. 3    features up, without bias
``upsample_flow5.conv`` .. 2  ``upflow0`` .. 3    flow up, without bias
``predict_flow.conv``         ``predict_flow``    last flow, without bias
============================  ==================  =======================================

A file of the flow network alone has these names without ``motion.``. Missing biases are zero.
:mod:`semidff.models.temporal.mmtracking` implements mmtracking's input units, its resolution of the last prediction and
its warp.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from semidff.utils.checkpoint import TRAINING_ONLY, CheckpointError, load_strict, read_checkpoint
from semidff.utils.error_messages import count_problems
from semidff.utils.model_building import build_model

from .fit import load_parts, write_checkpoint
from .mxnet.names import targets

_FLOW = 'temporal.flow_network.'
_DETECTOR = 'detector.'
_MOTION = 'motion.'


def layers() -> Iterator[tuple[str, str]]:
    """Yield mmtracking's and our name of each layer of the flow network, without ``weight`` and ``bias``."""
    for stage in range(1, 7):
        yield f'conv{stage}.0.conv', f'conv{stage}'
        if stage > 2:
            yield f'conv{stage}.1.conv', f'conv{stage}_1'
    for level in range(4):
        yield f'predict_flow{6 - level}.conv', f'predict{level}'
        yield f'deconv{5 - level}.conv', f'deconv{level}'
        yield f'upsample_flow{5 - level}.conv', f'upflow{level}'
    yield 'predict_flow.conv', 'predict_flow'


def convert(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename weights.

    Args:
        given: State dict of mmtracking's DFF, or of its FlowNetSimple.

    Returns:
        State dict of a video detector, or of its flow network (``temporal.flow_network.*``).

    Raises:
        ValueError: If weights of the flow network are missing, unknown or of another shape.
    """
    whole = any(key.startswith(_MOTION) for key in given)
    prefix = _MOTION if whole else ''
    shapes = {t.key: t.shape for t in targets(('flow_network',)).values()}
    of_detector = [key for key in given if whole and key.startswith(_DETECTOR)]
    detector = {f'spatial.{key}': given[key] for key in of_detector}
    names = {
        f'{prefix}{theirs}.{kind}': f'{_FLOW}{ours}.{kind}'
        for theirs, ours in layers()
        for kind in ('weight', 'bias')
    }
    needed = [name for name in names if name.endswith('weight') or name.startswith(f'{prefix}conv')]
    missing = [name for name in needed if name not in given]
    unknown = [k for k in given if k not in names and k not in of_detector]
    misfits = [
        f'{name} {tuple(given[name].shape)} instead of {shapes[key]}'
        for name, key in names.items()
        if name in given and given[name].shape != shapes[key]
    ]
    problems = {'missing': missing, 'unknown': unknown, 'of another shape': misfits}
    if text := count_problems(problems):
        raise ValueError(f"not mmtracking's DFF nor its FlowNetSimple: {text}")
    flow = {
        key: given[name] if name in given else torch.zeros(shapes[key])
        for name, key in names.items()
    }
    return detector | flow


def convert_file(
    source: str | Path, out: str | Path, config: str | Path | None = None
) -> list[str]:
    """Convert a checkpoint; on an error no file is written.

    Args:
        config: Config of the model that the weights must fit.

    Raises:
        CheckpointError: If the file cannot be read, is of another network, or does not fit the config's model.
        ConfigError: If the config has no model.
    """
    given, meta = read_checkpoint(source)
    try:
        state = convert(given)
    except ValueError as error:
        raise CheckpointError(f'{source}: {error}') from None
    if config is not None:
        model = build_model(config)
        if any(not key.startswith(_FLOW) for key in state):
            if not hasattr(model, 'spatial'):
                raise CheckpointError(
                    f'{source}: the model of the config ({type(model).__name__}) is no video detector'
                )
            load_strict(model, source, 'model of the config', ignore=TRAINING_ONLY, state=state)
        else:
            load_parts(model, state, ('flow_network',), source)
    kept = {key: meta[key] for key in ('CLASSES', 'dataset_meta') if key in meta}
    if 'CLASSES' in kept:
        kept = dict(dataset_meta=dict(classes=tuple(kept['CLASSES'])))
    write_checkpoint(state, {**kept, 'source': Path(source).name}, out)
    return [f'{out}: {len(state)} tensors from {source}']
