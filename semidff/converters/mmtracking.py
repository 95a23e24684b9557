"""Checkpoints of mmtracking's DFF and FlowNetSimple -> checkpoints of this project.

mmtracking's DFF is a detector of mmdetection (``detector.*``, whose names mmdetection 3 kept) and ``motion.*``, a
FlowNetS:

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

A file of the flow network alone has these names without ``motion.``. A bias that is not there is zero. What the layers
do not tell, the units of the input, the place of the last prediction and the warp, is in
:mod:`semidff.models.temporal.mmtracking`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from semidff.utils.atomic_write import atomic_write
from semidff.utils.checkpoint import CheckpointError, read_checkpoint

from .fit import ConfigError, build_model, load_parts, load_video_detector
from .mxnet.names import targets

_FLOW = 'temporal.flow_network.'
_DETECTOR = 'detector.'
_MOTION = 'motion.'


def layers() -> Iterator[tuple[str, str]]:
    """mmtracking's names of the flow network's layers, and ours, without ``weight`` and ``bias``."""
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
    """Renames weights.

    Args:
        given: State dict of mmtracking's DFF, or of its FlowNetSimple.

    Returns:
        State dict of a video detector, or of its flow network (``temporal.flow_network.*``).

    Raises:
        ValueError: If anything of the flow network is missing, left over or of another shape.
    """
    whole = any(key.startswith(_MOTION) for key in given)
    prefix = _MOTION if whole else ''
    shapes = {t.key: t.shape for t in targets(('flow_network',)).values()}
    detector = {
        f'spatial.{key}': value
        for key, value in given.items()
        if whole and key.startswith(_DETECTOR)
    }
    used, flow, missing, misfits = set(), {}, [], []
    for theirs, ours in layers():
        for kind in ('weight', 'bias'):
            name, key = f'{prefix}{theirs}.{kind}', f'{_FLOW}{ours}.{kind}'
            if name not in given:
                if kind == 'bias' and not ours.startswith('conv'):
                    flow[key] = torch.zeros(shapes[key])
                else:
                    missing.append(name)
                continue
            used.add(name)
            flow[key] = given[name]
            if given[name].shape != shapes[key]:
                misfits.append(f'{name} {tuple(given[name].shape)} instead of {shapes[key]}')
    left_over = [k for k in given if k not in used and f'spatial.{k}' not in detector]
    problems = dict(missing=missing, unknown=left_over, **{'of another shape': misfits})
    if any(problems.values()):
        listed = (f'{len(v)} {kind}: {", ".join(v[:4])}' for kind, v in problems.items() if v)
        raise ValueError(f"not mmtracking's DFF nor its FlowNetSimple: {'; '.join(listed)}")
    return detector | flow


def convert_file(
    source: str | Path, out: str | Path, config: str | Path | None = None
) -> dict[str, Tensor]:
    """Converts a checkpoint; on any error no file is written.

    Args:
        source: mmtracking's checkpoint.
        out: The checkpoint to write.
        config: Config whose model shall fit.

    Returns:
        The weights.

    Raises:
        CheckpointError: If the file cannot be read, is of another network, or does not fit the config's model.
        ConfigError: If the config has no model, or ``out`` is ``source``.
    """
    if Path(source).resolve() == Path(out).resolve():
        raise ConfigError(f'{out}: is the file that is read; write to another')
    given, meta = read_checkpoint(source)
    try:
        state = convert(given)
    except ValueError as error:
        raise CheckpointError(f'{source}: {error}') from None
    if config is not None:
        model = build_model(config)[1]
        if any(not key.startswith(_FLOW) for key in state):
            load_video_detector(model, state, source)
        else:
            load_parts(model, state, ('flow_network',), source)
    kept = {key: meta[key] for key in ('CLASSES', 'dataset_meta') if key in meta}
    if 'CLASSES' in kept:
        kept = dict(dataset_meta=dict(classes=tuple(kept['CLASSES'])))
    with atomic_write(out, binary=True) as file:
        torch.save(dict(meta=dict(kept, source=Path(source).name), state_dict=state), file)
    return state
