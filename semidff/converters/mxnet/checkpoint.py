"""Conversion of the original's parameters into a checkpoint of this project."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from semidff.datasets.imagenet import VID_CLASSES

from .boxes import Normalization, form_of, training_boxes
from .converted import Converted
from .names import DETECTOR, NameMappingError, check_names, convert, targets
from .network import Network, network_of

_CLASSIFIER = ('fc1000_weight', 'fc1000_bias')
_TEACHER = 'teacher_'


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
        form: Meaning of the box weights; None derives it, see :func:`~semidff.converters.mxnet.boxes.form_of`.
        normalization: Normalization of our box coder; None is the original's.
        box_groups: Groups of box outputs of our head.
        pass_over: Prefixes of unknown names, without ``arg:``, that are skipped.

    Returns:
        The checkpoint, with the names of a video detector if there is a temporal part, of a backbone if the file is an
        ImageNet classifier, else of a detector.

    Raises:
        NameMappingError: If a parameter is missing, unknown, of another shape or not finite.
    """
    params = _without_prefixes(arrays)
    network = network_of(params)._replace(box_groups=box_groups)
    parts = tuple(parts) if parts else _parts_of(params, network)
    kept = _select(params, parts, network, pass_over)
    check_names(kept, parts, network)
    result = Converted(
        {}, parts, network, passed_over=[name for name in params if name not in kept]
    )
    meta = {'mxnet': {}}
    if 'task_network' in parts:
        result.form = meta['mxnet']['form'] = form or form_of(kept)
        boxes, result.agree = training_boxes(kept, result.form, normalization or Normalization())
        kept |= boxes
        if network.classes == len(VID_CLASSES) + 1:
            meta['dataset_meta'] = {'classes': VID_CLASSES}
    _check_finite(kept, parts, network)
    state = convert(kept, parts, network)
    if 'temporal' not in parts and 'flow_network' not in parts:
        prefix = f'{DETECTOR}backbone.' if parts == ('backbone',) else DETECTOR
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    result.content = {'meta': meta, 'state_dict': state}
    return result


def _without_prefixes(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    params = {}
    for full, array in arrays.items():
        group, _, name = full.partition(':')
        if group not in ('arg', 'aux') or not name:
            raise NameMappingError(
                f'the name {full!r} has neither arg: nor aux: before it; files of Gluon are of '
                'other networks'
            )
        if name in params:
            raise NameMappingError(f'{name} is there as arg: and as aux:')
        params[name] = array
    return params


def _parts_of(params: Mapping[str, np.ndarray], network: Network) -> tuple[str, ...]:
    def has(part: str, without: Sequence[str] = ()) -> bool:
        names = targets((part,), network).keys() - targets(without, network).keys()
        return any(name in params for name in names)

    backbone, flow = has('backbone'), has('flow_network')
    found = {
        'feature_network': backbone or has('feature_network', ('backbone',)),
        'task_network': has('task_network'),
        'temporal': flow or has('temporal', ('flow_network',)),
    }
    parts = tuple(part for part, present in found.items() if present)
    if not parts:
        raise NameMappingError(
            'has no parameter of R-FCN, ResNet or FlowNet; its names are '
            f'{", ".join(list(params)[:4])}{", ..." if len(params) > 4 else ""}'
        )
    if parts == ('feature_network',) and not has('feature_network', ('backbone',)):
        return ('backbone',)
    if parts == ('temporal',) and not has('temporal', ('flow_network',)):
        return ('flow_network',)
    return parts


def _select(
    params: dict[str, np.ndarray], parts: Sequence[str], network: Network, pass_over: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return the parameters to convert and those that are unknown."""
    wanted, known = targets(parts, network), targets(network=network)

    def superfluous(name: str) -> bool:
        if name in wanted or name.removesuffix('_test') in wanted:
            return False
        return (
            name.removesuffix('_test') in known
            or name.startswith(tuple(pass_over))
            or (name in _CLASSIFIER and tuple(parts) == ('backbone',))
            or name.removeprefix(_TEACHER).removesuffix('_test') in known
        )

    return {name: array for name, array in params.items() if not superfluous(name)}


def _check_finite(params: Mapping[str, np.ndarray], parts: Sequence[str], network: Network) -> None:
    broken = [name for name in targets(parts, network) if not np.isfinite(params[name]).all()]
    if broken:
        raise NameMappingError(
            f'{len(broken)} not finite: {", ".join(broken[:4])}; the training that made the file '
            'has diverged, or the file is damaged'
        )


def full_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of :func:`to_checkpoint` with the names of a video detector."""
    if any(key.startswith((DETECTOR, 'temporal.')) for key in state):
        return dict(state)
    heads = any(key.startswith(('backbone.', 'neck.', 'rpn_head.', 'roi_head.')) for key in state)
    prefix = DETECTOR if heads else f'{DETECTOR}backbone.'
    return {prefix + key: value for key, value in state.items()}
