"""Cost of a video detector's parts in operations, and the ratios of DFF Eqs. 5-7 that follow.

One FLOP is one multiply-add, as in DFF Table 2. Convolutions, deconvolutions, matrix products, attention and bilinear
sampling are counted on the real modules, for one frame. Not counted: additions of biases, normalization, activations,
pooling (of regions too), products of two maps, resizing, proposals, non-maximum suppression, and operators that
PyTorch's counter does not know (deformable convolutions of mmcv).

The cost of a second stage per region depends on the number of regions that the untrained first stage proposes. The
ratio of Table 2 is ``N_feat / (F + S)``: its 1 x 1 convolution counts as part of the flow network, and its ResNets have
their strides on the first 1 x 1 convolution of a block (style 'caffe').
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from semidff.models.video_detector import VideoDetector
from semidff.utils.tables import text_table

from .part_times import PARTS, batch_of, speedup_of
from .smooth_video import smooth_frames

COUNTED = ('feature_network', 'flow', 'scale', 'warp', 'task_network', 'task_key')
"""The counted parts; :data:`~semidff.analysis.part_times.PARTS` has their labels."""


class Cost(NamedTuple):
    """Multiply-adds of a part for one frame, and its number of parameters."""

    flops: int
    parameters: int


class ComplexityReport(NamedTuple):
    """Result of :func:`measure_complexity`.

    Attributes:
        size: Height and width of the network's input, padding included.
        parts: Costs, by the names of :data:`COUNTED`. ``task_network`` is that of non-key frames; ``task_key``, that
            of key frames, is there where the model has other test settings for non-key frames.
    """

    size: tuple[int, int]
    parts: dict[str, Cost]

    @property
    def flow_is_network(self) -> bool:
        return self.parts['flow'].flops > 0

    @property
    def ratio(self) -> float:
        """r of DFF Eq. 5."""
        non_key = self._sum('flow', 'scale', 'warp', 'task_network')
        task_key = 'task_key' if 'task_key' in self.parts else 'task_network'
        return non_key / self._sum('feature_network', task_key)

    @property
    def inverse_ratios(self) -> dict[str, float]:
        """1 / r of DFF Eq. 6, for F alone and for F with S; empty where F is not a network."""
        if not self.flow_is_network:
            return {}
        features = self._sum('feature_network')
        return {
            'N_feat / F': features / self._sum('flow'),
            'N_feat / (F + S)': features / self._sum('flow', 'scale'),
        }

    def to_dict(self, key_intervals: Sequence[int]) -> dict:
        """All figures, for JSON: speed-ups at each of the key-frame intervals l."""
        return dict(
            height=self.size[0],
            width=self.size[1],
            parts={name: cost._asdict() for name, cost in self.parts.items()},
            flow_is_network=self.flow_is_network,
            ratio=self.ratio,
            inverse_ratios=self.inverse_ratios,
            speedups={length: speedup_of(self.ratio, length) for length in key_intervals},
        )

    def text(self, key_intervals: Sequence[int]) -> str:
        """Tables for a terminal, with the figures of :meth:`to_dict`."""
        rows = [('one frame of {} x {}'.format(*self.size), 'GFLOPs', 'M params')]
        for name, cost in self.parts.items():
            rows.append((PARTS[name], f'{cost.flops / 1e9:.3f}', f'{cost.parameters / 1e6:.3f}'))
        ratio_rows = [('', 'counted')]
        for name, value in self.inverse_ratios.items():
            ratio_rows.append((f'1 / r (DFF Eq. 6), {name}', f'{value:.2f}'))
        ratio_rows.append(('r (DFF Eq. 5)', f'{self.ratio:.4f}'))
        for length in key_intervals:
            speedup = f'{speedup_of(self.ratio, length):.2f}'
            ratio_rows.append((f's (DFF Eq. 7) at l = {length}', speedup))
        notes = [
            'FLOPs are multiply-adds. Not counted: biases, normalization, activations, pooling, products '
            'of maps, resizing, proposals and non-maximum suppression.'
        ]
        if not self.flow_is_network:
            notes.append(
                'F is not a network, so its operations are not counted: the counted r and s are those '
                'of the other parts. The times of tools/analysis/benchmark.py include it.'
            )
        return '\n'.join([text_table(rows), text_table(ratio_rows), *notes])

    def _sum(self, *names: str) -> int:
        return sum(self.parts[name].flops for name in names)


@torch.no_grad()
def measure_complexity(model: VideoDetector, height: int, width: int) -> ComplexityReport:
    """Count the operations of each part of a video detector.

    Args:
        model: With a :class:`~semidff.models.temporal.TemporalModule`; it is put into eval mode and frozen.
        height, width: Size of a frame in pixels; the data preprocessor may pad it.

    Raises:
        ValueError: If there is no temporal module with a flow network, or the size is not positive.
    """
    if not model.has_temporal:
        raise ValueError('the model has no temporal module: give a stage-two config')
    if height < 1 or width < 1:
        raise ValueError(f'the size is {height} x {width}; it must be positive')
    # PyTorch's counter would ask for gradients of weights that modules take as inputs (Deformable DETR's queries).
    temporal = model.eval().requires_grad_(False).temporal
    if not hasattr(temporal, 'flow_network'):
        raise ValueError(f'{type(temporal).__name__} has no flow network')
    data = model.data_preprocessor(batch_of(smooth_frames(1, height, width)[0]), False)
    inputs, samples = data['inputs'], data['data_samples']
    image = temporal.prepare(inputs)
    flops = {}
    flops['feature_network'], features = count(model.spatial.features, inputs)
    flops['flow'], output = count(temporal.flow_network, image, image)
    scale = context = None
    of_context = 0
    if temporal.scale is not None:
        flops['scale'], scale = count(temporal.scale, output.hidden)
    if temporal.correction is not None:
        of_context, context = count(temporal.correction.context, output.hidden)
    flops['warp'], _ = count(temporal.propagate, features, output.flow, scale, context)
    flops['warp'] += of_context
    settings = model.non_key_test_cfg
    flops['task_network'], _ = count(model.spatial.predict, features, samples, settings)
    if settings:
        flops['task_key'], _ = count(model.spatial.predict, features, samples)
    modules = dict(
        feature_network=model.part('feature_network'),
        flow=[temporal.flow_network],
        scale=[] if temporal.scale is None else [temporal.scale],
        warp=[] if temporal.correction is None else [temporal.correction],
        task_network=model.part('task_network'),
        task_key=model.part('task_network'),
    )
    parts = {}
    for name in COUNTED:
        if name == 'task_key' and not settings:
            continue
        shared = {p for module in modules.get(name, []) for p in module.parameters()}
        parts[name] = Cost(flops.get(name, 0), sum(p.numel() for p in shared))
    return ComplexityReport(tuple(inputs.shape[-2:]), parts)


def count(function: Callable, *arguments: Any) -> tuple[int, Any]:
    """Return the multiply-adds of a call, and its result."""
    with FlopCounterMode(display=False, custom_mapping=_SAMPLING) as counter:
        result = function(*arguments)
    return counter.get_total_flops() // 2, result  # the counter has two for a multiply-add


def _bilinear(*args: Any, out_shape: Sequence[int], **kwargs: Any) -> int:
    """FLOPs of four neighbors, a multiply-add each, for every element of the output (DFF Eq. 1)."""
    return 2 * 4 * torch.Size(out_shape).numel()


def _bilinear_rows(*args: Any, out_shape: Sequence, **kwargs: Any) -> int:
    """FLOPs of the same for channels-last maps, see :class:`~semidff.models.temporal.warp.Sampler`."""
    return _bilinear(out_shape=out_shape[0])


_SAMPLING = {
    torch.ops.aten.grid_sampler_2d: _bilinear,
    torch.ops.aten.cudnn_grid_sampler: _bilinear,
    torch.ops.aten._embedding_bag_forward_only: _bilinear_rows,
}
