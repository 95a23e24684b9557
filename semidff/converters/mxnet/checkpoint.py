"""The original's parameters -> a checkpoint of this project, and back."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from semidff.datasets.imagenet import VID_CLASSES

from .boxes import NAMES, Normalization, form_of, inference_boxes, is_copy, training_boxes
from .converted import Converted
from .names import DETECTOR, NameMappingError, check_names, convert, revert, targets
from .network import Network, network_of, network_of_state, units_of

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
    """Converts parameters.

    Args:
        arrays: Arrays by full names (``arg:conv1_weight``).
        parts: Parts to convert; None finds them by the names.
        form: Meaning of the box weights; None finds it, see :func:`~semidff.converters.mxnet.boxes.form_of`.
        normalization: Of our box coder; None is the original's.
        box_groups: Groups of box outputs of our head.
        pass_over: Beginnings of names, without ``arg:``, that the file may have beside the known ones.

    Returns:
        The checkpoint. Its names are a video detector's if there is a temporal part, else a detector's; of
        ImageNet's file a backbone's. ``meta['mxnet']`` keeps what :func:`to_params` needs to give the same bits back.

    Raises:
        NameMappingError: If a parameter is missing, left over, of another shape, or not finite.
    """
    params = _without_prefixes(arrays)
    network = network_of(params)._replace(box_groups=box_groups)
    parts = tuple(parts) if parts else _parts_of_params(params, network)
    kept, passed_over = _sorted_out(params, parts, network, pass_over)
    check_names(kept, parts, network)
    result = Converted({}, parts, network, passed_over=passed_over)
    normalization = normalization or Normalization()
    names = [name for name in arrays if name.partition(':')[2] in kept]
    remembered = dict(names=names, means=normalization.means, stds=normalization.stds)
    if 'task_network' in parts:
        result.form = form or form_of(kept)
        boxes, result.agree = training_boxes(kept, result.form, normalization)
        remembered['form'] = result.form
        if result.form != 'training':
            ending = '_test' if result.form == 'copies' else ''
            remembered['boxes'] = {k: torch.from_numpy(np.array(kept[f'{k}{ending}'], np.float32))
                                   for k in NAMES}  # fmt: skip
        kept |= boxes
    _check_finite(kept, parts, network)
    meta = dict(mxnet=remembered)
    if 'task_network' in parts and network.classes == len(VID_CLASSES) + 1:
        meta['dataset_meta'] = dict(classes=VID_CLASSES)
    state = _own_names(convert(kept, parts, network), parts)
    result.content = dict(meta=meta, state_dict=state)
    return result


def to_params(
    state: Mapping[str, Tensor],
    meta: Mapping | None = None,
    parts: Sequence[str] | None = None,
    form: str | None = None,
    normalization: Normalization | None = None,
) -> Converted:
    """Converts a checkpoint back.

    Args:
        state: Its weights.
        meta: What it says about itself.
        parts: Parts to convert; None takes all that are there.
        form: What the box weights shall mean; None gives the form that the checkpoint was converted from, test copies
            if it comes from a training.
        normalization: Of our box coder; None is the one of the conversion, else the original's.

    Returns:
        Arrays (float32) by full names. Of a checkpoint of :func:`to_checkpoint` they are, bit by bit, those that it
        was made from, in their order; teacher and optimizer of a training are passed over.

    Raises:
        NameMappingError: If a weight is missing, left over or of another shape.
    """
    state, passed_over = full_names(state)
    remembered = (meta or {}).get('mxnet', {})
    network = network_of_state({k.removeprefix(DETECTOR): v for k, v in state.items()})
    units = units_of(name.partition(':')[2] for name in remembered.get('names', ()))
    if [len(stage) for stage in units] == [len(stage) for stage in network.units]:
        network = network._replace(units=units)
    own = _parts_of_state(state)
    parts = tuple(parts) if parts else own
    if other := [part for part in own if part not in parts]:
        unwanted = {target.key for target in targets(other, network).values()}
        unwanted -= {target.key for target in targets(parts, network).values()}
        state = {key: value for key, value in state.items() if key not in unwanted}
    params = revert(state, parts, network)
    result = Converted({}, parts, network, passed_over=passed_over)
    if 'task_network' in parts:
        if normalization is None and remembered:
            normalization = Normalization(remembered['means'], remembered['stds'])
        result.form = form or remembered.get('form', 'copies')
        params |= _boxes_back(params, result.form, normalization, remembered.get('boxes', {}))
    order = {name: i for i, name in enumerate(remembered.get('names', ()))}
    full = sorted(map(_with_prefix, params), key=lambda name: order.get(name, len(order)))
    result.content = {name: params[name.partition(':')[2]] for name in full}
    return result


def _boxes_back(
    params: Mapping[str, np.ndarray],
    form: str,
    normalization: Normalization | None,
    remembered: Mapping[str, Tensor],
) -> dict[str, np.ndarray]:
    if form == 'training':
        return {}
    boxes = inference_boxes(params, normalization or Normalization())
    for name, tensor in remembered.items():
        # The same weights, not yet rounded twice; weights that were trained on differ by more.
        if is_copy(tensor.numpy(), boxes[name]):
            boxes[name] = tensor.numpy()
    return boxes if form == 'inference' else {f'{k}_test': v for k, v in boxes.items()}


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


def _with_prefix(name: str) -> str:
    return f'{"aux" if name.endswith(("_moving_mean", "_moving_var")) else "arg"}:{name}'


def _parts_of_params(params: Mapping[str, np.ndarray], network: Network) -> tuple[str, ...]:
    def has(part: str, without: Sequence[str] = ()) -> bool:
        names = targets((part,), network).keys() - targets(without, network).keys()
        return any(name in params for name in names)

    found = _parts(
        has('backbone'), has('feature_network', ('backbone',)), has('task_network'),
        has('flow_network'), has('temporal', ('flow_network',)),
    )  # fmt: skip
    if not found:
        raise NameMappingError(
            'has no parameter of R-FCN, ResNet or FlowNet; its names are '
            f'{", ".join(list(params)[:4])}{", ..." if len(params) > 4 else ""}'
        )
    return found


def _parts_of_state(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    def has(*beginnings: str) -> bool:
        return any(key.startswith(beginnings) for key in state)

    return _parts(
        has(f'{DETECTOR}backbone.'), has(f'{DETECTOR}neck.'),
        has(f'{DETECTOR}rpn_head.', f'{DETECTOR}roi_head.'),
        has('temporal.flow_network.'), has('temporal.scale.'),
    )  # fmt: skip


def _parts(backbone: bool, neck: bool, heads: bool, flow: bool, scale: bool) -> tuple[str, ...]:
    if backbone and not (neck or heads or flow or scale):
        return ('backbone',)
    if flow and not (backbone or neck or heads or scale):
        return ('flow_network',)
    found = dict(feature_network=backbone or neck, task_network=heads, temporal=flow or scale)
    return tuple(part for part, there in found.items() if there)


def _sorted_out(
    params: dict[str, np.ndarray], parts: Sequence[str], network: Network, pass_over: Sequence[str]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Parameters to be converted or named in an error, and those that are passed over."""
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

    kept = {name: array for name, array in params.items() if not superfluous(name)}
    return kept, [name for name in params if name not in kept]


def _check_finite(params: Mapping[str, np.ndarray], parts: Sequence[str], network: Network) -> None:
    broken = [name for name in targets(parts, network) if not np.isfinite(params[name]).all()]
    if broken:
        raise NameMappingError(
            f'{len(broken)} not finite: {", ".join(broken[:4])}; the training that made the file '
            'has diverged, or the file is damaged'
        )


def _own_names(state: dict[str, Tensor], parts: Sequence[str]) -> dict[str, Tensor]:
    if 'temporal' in parts or 'flow_network' in parts:
        return state
    prefix = f'{DETECTOR}backbone.' if tuple(parts) == ('backbone',) else DETECTOR
    return {key.removeprefix(prefix): value for key, value in state.items()}


def full_names(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Weights by a video detector's names, and names of those that it does not need for inference."""
    if any(key.startswith((DETECTOR, 'temporal.')) for key in state):
        prefix = ''
    elif any(key.startswith(('backbone.', 'neck.', 'rpn_head.', 'roi_head.')) for key in state):
        prefix = DETECTOR
    else:
        prefix = f'{DETECTOR}backbone.'
    passed_over = [key for key in state if key.startswith('teacher_task.')]
    full = {prefix + key: value for key, value in state.items() if key not in passed_over}
    return full, passed_over
