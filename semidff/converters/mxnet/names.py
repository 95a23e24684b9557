"""Mapping from the parameter names of the original DFF and semi-DFF (MXNet) to state-dict keys.

The mapping consists of names, shapes and channel orders. The network is the original's: R-FCN on
ResNet-101 with 30 classes, FlowNetS and the scale field, which is
``VideoDetector(detector=RFCN(..., bbox_head=RFCNBBoxHead(box_groups=2)),
temporal=TemporalModule(FlowNetS))`` with a softmax RPN (``use_sigmoid=False``). :class:`Network`
holds the sizes that differ between files.

Three channel orders differ:

- RPN scores: the original stores the background scores of all anchors, then their foreground
  scores; mmdet interleaves (foreground, background) per anchor. The order of the anchors, ratio
  before scale, is the same.
- R-FCN classes: background is the first class of the original and the last of mmdet.
- Box maps: mmdet's box coder multiplies by the standard deviations of the targets after the
  network, so our weights are the original's *training* weights
  (:mod:`~semidff.converters.mxnet.checkpoint`). Only the second of their two groups of four outputs
  is used; a head with ``box_groups=1`` has that group alone.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from semidff.checkpoints.read import DETECTOR
from semidff.checkpoints.safe import CheckpointError
from semidff.utils.error_messages import count_problems

FEATURES = 1024
PARTS = ('feature_network', 'task_network', 'temporal')
SMALL_PARTS = ('backbone', 'flow_network')
"""Contents of pre-training files: parts of ``feature_network`` and of ``temporal``."""
_IGNORED = ('rfcn_bbox_weight_test', 'rfcn_bbox_bias_test')
_FLOW = 'temporal.flow_network.'

_NORM = dict(gamma='weight', beta='bias', moving_mean='running_mean', moving_var='running_var')
# Output channels and kernel size of the first layer of each stage.
_ENCODER = ((64, 7), (128, 5), (256, 5), (512, 3), (512, 3), (1024, 3))
# Input and output channels of the feature deconvolution of each level.
_DECODER = ((1024, 512), (1026, 256), (770, 128), (386, 64))
_HIDDEN = 194


def numbered(*counts: int) -> tuple[tuple[str, ...], ...]:
    """Return the unit names of the stages as in ResNet-101: a, b1, b2, ...; at the ends a, b, c."""
    first, *middle, last = counts
    units = (('a', *(f'b{i}' for i in range(1, count))) for count in middle)
    return (tuple('abcdefgh'[:first]), *units, tuple('abcdefgh'[:last]))


def lettered(*counts: int) -> tuple[tuple[str, ...], ...]:
    """Return the unit names of the four stages as in ResNet-50: a, b, c, d, ..."""
    return tuple(tuple('abcdefgh'[:count]) for count in counts)


class Network(NamedTuple):
    """Sizes of a network.

    Attributes:
        units: Names of the residual units of stages 2 to 5.
        classes: Number of classes including background.
        anchors: Anchors per position.
        bins: Bins per side of the position-sensitive maps.
        box_groups: Groups of box outputs of *our* head, 2 or 1; the original has 2.
    """

    units: tuple[tuple[str, ...], ...] = numbered(3, 4, 23, 3)
    classes: int = 31
    anchors: int = 9
    bins: int = 7
    box_groups: int = 2

    @property
    def depth(self) -> int:
        """Layers of the ResNet: 50, 101, 152."""
        return 3 * sum(map(len, self.units)) + 2


ORIGINAL = Network()
# In order of size; the first that has all units of a file is the file's network.
_RESNETS = (
    lettered(3, 4, 6, 3),
    numbered(3, 4, 6, 3),
    numbered(3, 4, 23, 3),
    numbered(3, 8, 36, 3),
)
_UNIT = re.compile(r'(?:res|bn)([2-5])([a-z]\d*)_branch')


def network_of(params: Mapping[str, np.ndarray]) -> Network:
    """Return the smallest network that has all residual units of a file, else ResNet-101.

    Sizes of heads that are missing or inconsistent are the original's.
    """

    def channels(name: str) -> int:
        shape = params[name].shape if name in params else ()
        return shape[0] if shape else 0

    found = {match.groups() for name in params if (match := _UNIT.match(name))}
    for units in _RESNETS if found else ():
        if found <= {(str(stage), unit) for stage, own in enumerate(units, 2) for unit in own}:
            break
    else:  # Missing and foreign units are reported when the names are compared.
        units = ORIGINAL.units
    bins = math.isqrt(channels('rfcn_bbox_weight') // 8)
    if not bins or 8 * bins**2 != channels('rfcn_bbox_weight'):
        bins = ORIGINAL.bins
    return Network(
        units=units,
        classes=channels('rfcn_cls_weight') // bins**2 or ORIGINAL.classes,
        anchors=channels('rpn_cls_score_weight') // 2 or ORIGINAL.anchors,
        bins=bins,
    )


class Target(NamedTuple):
    """Destination of a parameter of the original.

    Attributes:
        key: State-dict key of a :class:`~semidff.models.video_detector.VideoDetector`.
        shape: Shape in the original.
        order: The original's output channel for each output channel of ours; None if they are the
            same.
    """

    key: str
    shape: tuple[int, ...]
    order: np.ndarray | None = None


class NameMappingError(CheckpointError):
    """Parameters that are not the original network's."""


def targets(parts: Sequence[str] = PARTS, network: Network = ORIGINAL) -> dict[str, Target]:
    """Return the destinations of parts' parameters by their names without ``arg:`` and ``aux:``."""
    tables = dict(
        feature_network=_feature_network,
        task_network=_task_network,
        temporal=_temporal,
        backbone=_backbone,
        flow_network=_flow_network,
    )
    if unknown := set(parts) - set(tables):
        raise ValueError(f'unknown parts {sorted(unknown)}; choose from {tuple(tables)}')
    return {name: target for part in parts for name, target in tables[part](network)}


def convert(
    params: Mapping[str, np.ndarray], parts: Sequence[str] = PARTS, network: Network = ORIGINAL
) -> dict[str, Tensor]:
    """Rename and reorder parameters, with names without ``arg:`` and ``aux:``, to float32.

    Parameters of other parts are ignored: the file of a detector has no ``temporal``, that of
    semi-DFF's regression step no ``task_network``. The state dict is that of these parts of a
    ``VideoDetector`` or ``SemiDFF``, without ``num_batches_tracked``.
    """
    check_names(params, parts, network)
    state = {}
    for name, (key, _, order) in targets(parts, network).items():
        array = params[name] if order is None else params[name][order]
        # A copy: the arrays may be views of a file's buffer.
        state[key] = torch.from_numpy(np.array(array, dtype=np.float32, copy=True))
    return state


def check_names(
    params: Mapping[str, np.ndarray], parts: Sequence[str] = PARTS, network: Network = ORIGINAL
) -> None:
    """Raise :class:`NameMappingError` if parameters are missing, unknown or of another shape."""
    wanted, known = targets(parts, network), targets(PARTS, network)
    missing = [name for name in wanted if name not in params]
    unknown = [name for name in params if name not in known and name not in _IGNORED]
    misfits = [
        f'{name} {params[name].shape} instead of {target.shape}'
        for name, target in wanted.items()
        if name in params and params[name].shape != target.shape
    ]
    problems = {'missing': missing, 'unknown': unknown, 'of another shape': misfits}
    if text := count_problems(problems):
        raise NameMappingError(
            f'not the parameters of R-FCN ResNet-{network.depth} with FlowNetS '
            f'({", ".join(parts)}): {text}. Leave parts out that the file does not have'
        )


def _backbone(network: Network) -> Iterator[tuple[str, Target]]:
    backbone = f'{DETECTOR}backbone.'
    yield 'conv1_weight', Target(f'{backbone}conv1.weight', (64, 3, 7, 7))
    yield from _norm('bn_conv1', f'{backbone}bn1', 64)
    channels = 64
    for stage, units in enumerate(network.units, start=2):
        inner = 64 * 2 ** (stage - 2)
        for index, unit in enumerate(units):
            yield from _bottleneck(f'{stage}{unit}', f'{backbone}layer{stage - 1}.{index}.',
                                   channels, inner)  # fmt: skip
            channels = 4 * inner


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


def _feature_network(network: Network) -> Iterator[tuple[str, Target]]:
    yield from _backbone(network)
    yield from _layer('feat_conv_3x3', f'{DETECTOR}neck.conv', (FEATURES, 2048, 3, 3))


def _task_network(network: Network) -> Iterator[tuple[str, Target]]:
    half, rpn, rcnn = FEATURES // 2, f'{DETECTOR}rpn_head.', f'{DETECTOR}roi_head.bbox_head.'
    anchors, cells = network.anchors, network.bins**2
    order = np.arange(2 * anchors).reshape(2, anchors)[::-1].T.reshape(-1)
    yield from _layer('rpn_cls_score', f'{rpn}rpn_cls', (2 * anchors, half, 1, 1), order)
    yield from _layer('rpn_bbox_pred', f'{rpn}rpn_reg', (4 * anchors, half, 1, 1))
    scores = network.classes * cells
    order = np.roll(np.arange(scores), -cells)
    yield from _layer('rfcn_cls', f'{rcnn}conv_cls', (scores, half, 1, 1), order)
    foreground = np.arange(4 * cells, 8 * cells) if network.box_groups == 1 else None
    yield from _layer('rfcn_bbox', f'{rcnn}conv_reg', (8 * cells, half, 1, 1), foreground)


def _flow_network(network: Network) -> Iterator[tuple[str, Target]]:
    channels = 6
    for stage, (out, kernel) in enumerate(_ENCODER, 1):
        original = 'flow_conv1' if stage == 1 else f'conv{stage}'
        yield from _layer(original, f'{_FLOW}conv{stage}', (out, channels, kernel, kernel))
        if stage > 2:
            yield from _layer(f'conv{stage}_1', f'{_FLOW}conv{stage}_1', (out, out, 3, 3))
        channels = out
    for i, (channels, out) in enumerate(_DECODER):
        yield from _layer(f'Convolution{i + 1}', f'{_FLOW}predict{i}', (2, channels, 3, 3))
        # Weights of deconvolutions are (in, out, h, w) in both.
        shape = (channels, out, 4, 4)
        yield from _layer(f'deconv{5 - i}', f'{_FLOW}deconv{i}', shape, out=out)
        yield from _layer(f'upsample_flow{6 - i}to{5 - i}', f'{_FLOW}upflow{i}', (2, 2, 4, 4))
    yield from _layer('Convolution5', f'{_FLOW}predict_flow', (2, _HIDDEN, 3, 3))


def _temporal(network: Network) -> Iterator[tuple[str, Target]]:
    yield from _flow_network(network)
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
