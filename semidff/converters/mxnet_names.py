"""Where the parameters of the original DFF and semi-DFF (MXNet) are in ours.

A pure mapping of names, shapes and channel orders; reading the original's files is not done here. It belongs to the
original's one network: R-FCN on ResNet-101 with 30 classes, FlowNetS and the scale field, here
``VideoDetector(detector=RFCN(..., bbox_head=RFCNBBoxHead(box_groups=2)), temporal=TemporalModule(FlowNetS))``
with a softmax RPN (``use_sigmoid=False``).

Three orders differ:

- RPN scores: the original has the background of all anchors first, then their foreground; mmdet interleaves
  (foreground, background) of each anchor. The anchors' own order, ratio before scale, is mmdet's too.
- R-FCN classes: background is the original's first class and mmdet's last.
- The original's second copy of the box maps, ``rfcn_bbox_*_test``, is multiplied by the standard deviations of the
  box targets. mmdet's box coder does that after the network, so the plain one is right and the copy is passed over.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

ANCHORS, CLASSES, BINS, FEATURES = 9, 31, 7, 1024
PARTS = ('feature_network', 'task_network', 'temporal')
_IGNORED = ('rfcn_bbox_weight_test', 'rfcn_bbox_bias_test')
_DETECTOR = 'spatial.detector.'
_FLOW = 'temporal.flow_network.'

_STAGES = ((2, ('a', 'b', 'c')), (3, ('a', *(f'b{i}' for i in range(1, 4)))),
           (4, ('a', *(f'b{i}' for i in range(1, 23)))), (5, ('a', 'b', 'c')))  # fmt: skip
_NORM = dict(gamma='weight', beta='bias', moving_mean='running_mean', moving_var='running_var')
_ENCODER = (
    ('flow_conv1', 'conv1', 6, 64, 7),
    ('conv2', 'conv2', 64, 128, 5),
    ('conv3', 'conv3', 128, 256, 5),
    ('conv3_1', 'conv3_1', 256, 256, 3),
    ('conv4', 'conv4', 256, 512, 3),
    ('conv4_1', 'conv4_1', 512, 512, 3),
    ('conv5', 'conv5', 512, 512, 3),
    ('conv5_1', 'conv5_1', 512, 512, 3),
    ('conv6', 'conv6', 512, 1024, 3),
    ('conv6_1', 'conv6_1', 1024, 1024, 3),
)
# channels in and out of each round's feature deconvolution
_DECODER = ((1024, 512), (1026, 256), (770, 128), (386, 64))
_HIDDEN = 194


class Target(NamedTuple):
    """Where one of the original's parameters goes.

    Attributes:
        key: State-dict key of a :class:`~semidff.models.video_detector.VideoDetector`.
        shape: Its shape, the same in both.
        order: For each output channel of ours the original's; None if they are the same.
    """

    key: str
    shape: tuple[int, ...]
    order: np.ndarray | None = None


class NameMappingError(ValueError):
    """Parameters that are not the original network's."""


def targets(parts: Sequence[str] = PARTS) -> dict[str, Target]:
    """All parameters of parts of the original network.

    Args:
        parts: Of ``feature_network``, ``task_network`` and ``temporal``.

    Returns:
        The original's names, without ``arg:`` or ``aux:``, and their targets.
    """
    tables = dict(feature_network=_feature_network, task_network=_task_network, temporal=_temporal)
    unknown = set(parts) - set(tables)
    if unknown:
        raise ValueError(f'unknown parts {sorted(unknown)}; choose from {PARTS}')
    return {name: target for part in parts for name, target in tables[part]()}


def convert(params: Mapping[str, np.ndarray], parts: Sequence[str] = PARTS) -> dict[str, Tensor]:
    """Renames and reorders parameters.

    Args:
        params: The original's parameters by name, without ``arg:`` or ``aux:``.
        parts: What is wanted. A detector's file has no ``temporal``, the file of semi-DFF's first step no
            ``task_network``; parameters of other parts are passed over.

    Returns:
        State dict for a ``VideoDetector`` or ``SemiDFF``, complete for these parts but for batch norm's counters.

    Raises:
        NameMappingError: If a parameter is missing, left over or of another shape; each kind is named.
    """
    wanted, known = targets(parts), targets()
    missing = [name for name in wanted if name not in params]
    left_over = [name for name in params if name not in known and name not in _IGNORED]
    misfits = [
        f'{name} {params[name].shape} instead of {target.shape}'
        for name, target in wanted.items()
        if name in params and params[name].shape != target.shape
    ]
    problems = dict(missing=missing, unknown=left_over, **{'of another shape': misfits})
    if any(problems.values()):
        listed = (f'{len(v)} {kind}: {", ".join(v[:4])}' for kind, v in problems.items() if v)
        raise NameMappingError(
            f'not the parameters of R-FCN ResNet-101 with FlowNetS ({", ".join(parts)}): '
            f'{"; ".join(listed)}. Leave parts out that the file does not have'
        )
    return {target.key: _reordered(params[name], target.order) for name, target in wanted.items()}


def _reordered(array: np.ndarray, order: np.ndarray | None) -> Tensor:
    # A copy: the arrays may be views of a file's buffer.
    return torch.from_numpy(np.array(array if order is None else array[order], copy=True))


def _feature_network() -> Iterator[tuple[str, Target]]:
    backbone = f'{_DETECTOR}backbone.'
    yield 'conv1_weight', Target(f'{backbone}conv1.weight', (64, 3, 7, 7))
    yield from _norm('bn_conv1', f'{backbone}bn1', 64)
    channels = 64
    for stage, units in _STAGES:
        inner = 64 * 2 ** (stage - 2)
        for index, unit in enumerate(units):
            yield from _bottleneck(f'{stage}{unit}', f'{backbone}layer{stage - 1}.{index}.',
                                   channels, inner)  # fmt: skip
            channels = 4 * inner
    yield from _layer('feat_conv_3x3', f'{_DETECTOR}neck.conv', (FEATURES, channels, 3, 3))


def _bottleneck(unit: str, ours: str, channels: int, inner: int) -> Iterator[tuple[str, Target]]:
    outer = 4 * inner
    layers = [
        ('2a', 'conv1', 'bn1', (inner, channels, 1, 1)),
        ('2b', 'conv2', 'bn2', (inner, inner, 3, 3)),
        ('2c', 'conv3', 'bn3', (outer, inner, 1, 1)),
    ]
    if unit.endswith('a'):
        layers.append(('1', 'downsample.0', 'downsample.1', (outer, channels, 1, 1)))
    for branch, conv, norm, shape in layers:
        yield f'res{unit}_branch{branch}_weight', Target(f'{ours}{conv}.weight', shape)
        yield from _norm(f'bn{unit}_branch{branch}', f'{ours}{norm}', shape[0])


def _task_network() -> Iterator[tuple[str, Target]]:
    half, rpn, rcnn = FEATURES // 2, f'{_DETECTOR}rpn_head.', f'{_DETECTOR}roi_head.bbox_head.'
    yield from _layer('rpn_cls_score', f'{rpn}rpn_cls', (2 * ANCHORS, half, 1, 1), _rpn_order())
    yield from _layer('rpn_bbox_pred', f'{rpn}rpn_reg', (4 * ANCHORS, half, 1, 1))
    yield from _layer(
        'rfcn_cls', f'{rcnn}conv_cls', (CLASSES * BINS**2, half, 1, 1), _class_order()
    )
    yield from _layer('rfcn_bbox', f'{rcnn}conv_reg', (8 * BINS**2, half, 1, 1))


def _temporal() -> Iterator[tuple[str, Target]]:
    for original, ours, channels, out, kernel in _ENCODER:
        yield from _layer(original, f'{_FLOW}{ours}', (out, channels, kernel, kernel))
    for i, (channels, out) in enumerate(_DECODER):
        yield from _layer(f'Convolution{i + 1}', f'{_FLOW}predict{i}', (2, channels, 3, 3))
        # Weights of deconvolutions are (in, out, h, w) in both.
        shape = (channels, out, 4, 4)
        yield from _layer(f'deconv{5 - i}', f'{_FLOW}deconv{i}', shape, out=out)
        yield from _layer(f'upsample_flow{6 - i}to{5 - i}', f'{_FLOW}upflow{i}', (2, 2, 4, 4))
    yield from _layer('Convolution5', f'{_FLOW}predict_flow', (2, _HIDDEN, 3, 3))
    yield from _layer('Convolution5_scale', 'temporal.scale', (FEATURES, _HIDDEN, 1, 1))


def _layer(
    original: str,
    ours: str,
    shape: tuple[int, ...],
    order: np.ndarray | None = None,
    out: int | None = None,
) -> Iterator[tuple[str, Target]]:
    yield f'{original}_weight', Target(f'{ours}.weight', shape, order)
    yield f'{original}_bias', Target(f'{ours}.bias', (out or shape[0],), order)


def _norm(original: str, ours: str, channels: int) -> Iterator[tuple[str, Target]]:
    for theirs, name in _NORM.items():
        yield f'{original}_{theirs}', Target(f'{ours}.{name}', (channels,))


def _rpn_order() -> np.ndarray:
    background = np.arange(ANCHORS)
    return np.stack((background + ANCHORS, background), axis=1).reshape(-1)


def _class_order() -> np.ndarray:
    return np.roll(np.arange(CLASSES * BINS**2), -(BINS**2))
