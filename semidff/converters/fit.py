"""Steps that all checkpoint converters share: building the config's model, loading into it, writing."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from semidff.utils.arguments import ToolParser, run_tool
from semidff.utils.atomic_write import atomic_write
from semidff.utils.checkpoint import DETECTOR, TRAINING_ONLY, CheckpointError, load_strict
from semidff.utils.tool_files import CheckpointFile, InputFile, OutputFile

_BELOW = {
    'backbone': (f'{DETECTOR}backbone.',),
    'feature_network': (f'{DETECTOR}backbone.', f'{DETECTOR}neck.'),
    'task_network': (f'{DETECTOR}rpn_head.', f'{DETECTOR}roi_head.'),
    'flow_network': ('temporal.flow_network.',),
    'temporal': ('temporal.flow_network.', 'temporal.scale.', 'temporal.correction.'),
}


def argument_parser(description: str, suffix: str = '.pth') -> ToolParser:
    """Return a parser of the options that the tools in ``tools/model_converters`` share."""
    parser = ToolParser(description=description)
    parser.add_argument(
        'source', type=CheckpointFile, metavar='IN', help=f'file to convert ({suffix})'
    )
    parser.add_argument('out', type=OutputFile, metavar='OUT', help='checkpoint to write')
    parser.add_argument(
        '--config',
        type=InputFile,
        help='config whose model the weights must fit; nothing is written if they do not',
    )
    return parser


def run_converter(convert_file: Callable[..., list[str]], parser: ToolParser) -> None:
    """Run ``convert_file`` with the options of the command line and print the lines that it returns."""
    run_tool(lambda args: print('\n'.join(convert_file(**vars(args)))), parser.parse_args())


def write_checkpoint(state: Mapping[str, Tensor], meta: Mapping, out: str | Path) -> None:
    """Write weights and ``meta`` as a checkpoint, atomically."""
    with atomic_write(out, binary=True) as file:
        torch.save({'meta': meta, 'state_dict': state}, file)


def detector_of(model: nn.Module) -> nn.Module:
    """Return the detector of a video detector, or the model itself."""
    return model.spatial.detector if hasattr(model, 'spatial') else model


def load_parts(
    model: nn.Module, state: Mapping[str, Tensor], parts: Sequence[str], source: str | Path
) -> None:
    """Load parts of a model strictly.

    Args:
        model: A video detector, a detector, or a flow pre-training.
        state: All weights of these parts, with the names of a video detector.
        parts: Any of ``backbone``, ``feature_network``, ``task_network``, ``flow_network``, ``temporal``.

    Raises:
        CheckpointError: If weights are missing, unexpected or of another shape; the message names some.
    """
    others = {*chain(*_BELOW.values())}.difference(*(_BELOW[part] for part in parts))
    ignore, given = [*others, *TRAINING_ONLY], dict(state)
    if not hasattr(model, 'spatial') and not hasattr(model, 'temporal'):
        if temporal := [part for part in parts if part in ('temporal', 'flow_network')]:
            raise CheckpointError(
                f'{source}: the model of the config ({type(model).__name__}) is a detector without '
                f'temporal module; leave {", ".join(temporal)} out (--parts), or give the config '
                'of a video detector'
            )
        given = {key.removeprefix(DETECTOR): value for key, value in state.items()}
        ignore = [key.removeprefix(DETECTOR) for key in ignore]
    load_strict(model, source, 'model of the config', ignore=ignore, state=given)


def departures(model: dict, style: str, mean: Sequence[float], std: Sequence[float]) -> list[str]:
    """Describe, one sentence each, the settings of a model that differ from those that its weights were trained with.

    Args:
        model: Config of a detector or a video detector.
        style: Required ``style`` of the backbone: ``caffe`` (stride on the first 1x1 of a residual unit) or
            ``pytorch``.
        mean: Required mean (red, green, blue).
        std: Required standard deviation (red, green, blue).
    """
    notes = []
    detector = model.get('detector', model)
    own_style = detector.get('backbone', {}).get('style', 'pytorch')
    if 'backbone' in detector and own_style != style:
        notes.append(f'backbone.style is {own_style!r}; these weights want {style!r}')
    given = model.get('data_preprocessor') or detector.get('data_preprocessor') or {}
    wanted = dict(mean=list(mean), std=list(std), bgr_to_rgb=True)
    other = {}
    for key, value in wanted.items():
        own = given.get(key)
        if np.shape(own) != np.shape(value) or not np.allclose(own or 0, value, rtol=0, atol=0.01):
            other[key] = own
    if other:
        notes.append(f'data_preprocessor has {other}; these weights want {wanted}')
    return notes
