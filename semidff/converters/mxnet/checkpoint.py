"""Conversion of the original's parameters (MXNet) into a checkpoint of this project.

**Box weights.** The original trains its box maps ``rfcn_bbox_*`` on normalized targets and applies
no standard deviations at test time. Training therefore writes the maps twice: plain, and multiplied
by the standard deviations as ``rfcn_bbox_*_test``. Inference replaces the plain weights with the
copies where they exist, and uses the plain weights otherwise. A file therefore has one of three
forms:

- ``copies``: the plain weights are those of training, the ``_test`` copies those of inference.
  Training writes this.
- ``inference``: there are no copies; the plain weights are those of inference.
- ``training``: the plain weights are those of training, with or without copies.

Our box coder multiplies by the standard deviations after the network, so our weights are those of
training. From ``copies`` the plain weights are taken unchanged if, multiplied by the standard
deviations, they equal the copies up to rounding. Otherwise the copies are divided, because the
original's inference uses them. From ``inference`` the plain weights are divided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor, nn

from semidff.checkpoints.building import build_model
from semidff.checkpoints.read import DETECTOR, save_weights
from semidff.converters.fit import departures, detector_of, load_parts
from semidff.datasets.imagenet import VID_CLASSES
from semidff.utils.command_line import Input, Output
from semidff.utils.error_messages import first_names

from .names import (
    PARTS,
    SMALL_PARTS,
    NameMappingError,
    Network,
    check_names,
    convert,
    network_of,
    targets,
)
from .params_file import read_params

AGREEMENT = 1e-5
"""Largest difference of a copy from the multiplied plain weight, relative to the largest value."""
# Mean pixel value (red, green, blue) that the original subtracts. It divides by nothing.
MEAN, STD = (123.15, 115.90, 103.06), (1.0, 1.0, 1.0)
_BOXES = ('rfcn_bbox_weight', 'rfcn_bbox_bias')
_CLASSIFIER = ('fc1000_weight', 'fc1000_bias')
_TEACHER = 'teacher_'
# Descriptions by form and by whether plain weights and copies agree.
_FORMS = {
    ('copies', True): "the training's, and the inference's as *_test; they agree",
    ('copies', False): "the inference's from *_test, divided by the deviations; the plain ones are "
    'of another training',
    ('inference', True): "the inference's, already multiplied by the deviations",
    ('training', True): "the training's",
}


class Normalization(NamedTuple):
    """Means and standard deviations of the box coder's (dx, dy, dw, dh), like the original's."""

    means: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    stds: tuple[float, ...] = (0.1, 0.1, 0.2, 0.2)


@dataclass
class Converted:
    """A converted file of parameters.

    Attributes:
        state, meta: Of the checkpoint.
        prefix: Prefix that the names of a video detector have in addition to those of the
            checkpoint.
        agree: Whether plain box weights and their test copies agree.
        passed_over: Names in the file that were skipped.
    """

    state: dict[str, Tensor]
    meta: dict
    parts: tuple[str, ...]
    network: Network
    prefix: str
    agree: bool
    passed_over: list[str]


def convert_file(
    source: Input,
    out: Output,
    *,
    config: Input | None = None,
    parts: Sequence[str] | None = None,
    boxes: Literal['copies', 'inference', 'training'] | None = None,
    pass_over: Sequence[str] = (),
) -> str:
    """Convert parameters of the original Deep Feature Flow (MXNet); on an error no file is written.

    Args:
        source: File to convert (.params).
        out: Checkpoint to write.
        config: Config whose model the weights must fit. Its box coder determines the divisor of the
            box weights, its head the number of box groups.
        parts: Parts to convert, such as detector or temporal (default: all parts in the file).
        boxes: Meaning of the box weights rfcn_bbox_* in the file: copies: weights of training, with
            those of inference as *_test; inference: weights of inference, already multiplied by the
            deviations; training: weights of training (default: copies if there is a *_test, else
            inference).
        pass_over: Prefixes of unknown parameter names to skip.

    Returns:
        A report, with the settings of the config that differ from the original's network.
    """
    arrays = read_params(source)
    model = None if config is None else build_model(config)
    options = {} if model is None else _box_options(model)
    try:
        converted = to_checkpoint(arrays, parts, boxes, pass_over=pass_over, **options)
    except NameMappingError as error:
        raise NameMappingError(f'{source}: {error}') from None
    names = [*converted.parts]
    if {'backbone', 'feature_network'}.intersection(converted.parts):
        names.append(f'ResNet-{converted.network.depth}')
    if 'task_network' in converted.parts:
        names.append(f'{converted.network.classes - 1} classes')
    lines = [f'{source}: {", ".join(names)}']
    if form := converted.meta['mxnet'].get('form'):
        lines.append(f'box weights: {_FORMS[form, converted.agree]}')
    if names := converted.passed_over:
        lines.append(f'passed over: {len(names)} ({first_names(names)})')
    lines.append(f'{out}: {len(converted.state)} arrays')
    if model is not None:
        full = {converted.prefix + key: value for key, value in converted.state.items()}
        load_parts(model, full, converted.parts, source)
        lines += [f'note: {n}' for n in departures(model.cfg.model, 'caffe', MEAN, STD)]
    converted.meta['mxnet']['source'] = Path(source).name
    save_weights(out, converted.state, converted.meta)
    return '\n'.join(lines)


def to_checkpoint(
    arrays: Mapping[str, np.ndarray],
    parts: Sequence[str] | None = None,
    form: str | None = None,
    normalization: Normalization | None = None,
    box_groups: int = 2,
    pass_over: Sequence[str] = (),
) -> Converted:
    """Convert parameters.

    Args:
        arrays: Arrays by full names (``arg:conv1_weight``).
        parts: Parts to convert; None derives them from the names.
        form: Meaning of the box weights; None: ``copies`` if there is a test copy, else
            ``inference``.
        normalization: Normalization of our box coder, by default the original's.
        box_groups: Groups of box outputs of our head.
        pass_over: Prefixes of unknown names, without ``arg:``, that are skipped.

    Returns:
        The checkpoint, with the names of a video detector if there is a temporal part, of a
        backbone if the file is an ImageNet classifier, else of a detector.
    """
    params = {full.partition(':')[2]: array for full, array in arrays.items()}
    if '' in params:
        raise NameMappingError(
            'its names have neither arg: nor aux: before them; files of Gluon are of other networks'
        )
    network = network_of(params)._replace(box_groups=box_groups)
    parts = tuple(parts) if parts else _parts_of(params, network)
    wanted, known = targets(parts, network), targets(network=network)

    def superfluous(name: str) -> bool:
        if name in wanted or name.removesuffix('_test') in wanted:
            return False
        return (
            name.startswith(tuple(pass_over))
            or (name in _CLASSIFIER and parts == ('backbone',))
            or name.removeprefix(_TEACHER).removesuffix('_test') in known
        )

    kept = {name: array for name, array in params.items() if not superfluous(name)}
    check_names(kept, parts, network)
    meta, agree, prefix = {'mxnet': {}}, True, ''
    passed_over = [name for name in params if name not in kept]
    if 'task_network' in parts:
        copied = any(f'{name}_test' in kept for name in _BOXES)
        meta['mxnet']['form'] = form = form or ('copies' if copied else 'inference')
        boxes, agree = _training_boxes(kept, form, normalization or Normalization())
        kept |= boxes
        if network.classes == len(VID_CLASSES) + 1:
            meta['dataset_meta'] = {'classes': VID_CLASSES}
    if broken := [name for name in wanted if not np.isfinite(kept[name]).all()]:
        raise NameMappingError(f'{len(broken)} not finite: {first_names(broken)}')
    if 'temporal' not in parts and 'flow_network' not in parts:
        prefix = f'{DETECTOR}backbone.' if parts == ('backbone',) else DETECTOR
    state = {k.removeprefix(prefix): v for k, v in convert(kept, parts, network).items()}
    return Converted(state, meta, parts, network, prefix, agree, passed_over)


def _training_boxes(
    params: Mapping[str, np.ndarray], form: str, normalization: Normalization
) -> tuple[dict[str, np.ndarray], bool]:
    """Return the box weights of training, and whether plain weights and copies, if any, agree."""
    plain = {name: np.asarray(params[name], np.float32) for name in _BOXES}
    if form == 'training':
        return plain, True
    weight, bias = _BOXES
    # The outputs are two groups of the four values, each value for all bins.
    means, stds = (
        np.repeat(np.tile(np.float32(v), 2), len(plain[bias]) // 8) for v in normalization
    )
    scale = stds[:, None, None, None]
    inference = plain
    if form == 'copies':
        for name in _BOXES:
            found = np.shape(params.get(f'{name}_test'))
            if found != plain[name].shape:
                raise NameMappingError(f'{name}_test is {found}, not {plain[name].shape}')
        inference = {name: np.asarray(params[f'{name}_test'], np.float32) for name in _BOXES}
        multiplied = {weight: plain[weight] * scale, bias: plain[bias] * stds + means}
        largest = {name: AGREEMENT * np.abs(inference[name]).max() for name in _BOXES}
        if all(np.abs(multiplied[n] - inference[n]).max() <= largest[n] for n in _BOXES):
            return plain, True
    divided = {weight: inference[weight] / scale, bias: (inference[bias] - means) / stds}
    return divided, form == 'inference'


def _box_options(model: nn.Module) -> dict:
    """Return the options of ``to_checkpoint`` that the model's R-FCN head, if any, determines."""
    head = getattr(getattr(detector_of(model), 'roi_head', None), 'bbox_head', None)
    if not hasattr(head, 'conv_reg'):
        return {}
    bins = head.conv_cls.out_channels // (head.num_classes + 1)
    return dict(
        normalization=Normalization(tuple(head.bbox_coder.means), tuple(head.bbox_coder.stds)),
        box_groups=head.conv_reg.out_channels // (4 * bins),
    )


def _parts_of(params: Mapping[str, np.ndarray], network: Network) -> tuple[str, ...]:
    names = {part: targets((part,), network).keys() for part in PARTS + SMALL_PARTS}
    found = tuple(part for part in PARTS if names[part] & params.keys())
    if not found:
        raise NameMappingError(
            f'has no parameter of R-FCN, ResNet or FlowNet; its names are {first_names([*params])}'
        )
    for small in SMALL_PARTS:
        if len(found) == 1 and names[found[0]] & params.keys() <= names[small]:
            return (small,)
    return found
