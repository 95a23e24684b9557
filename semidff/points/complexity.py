"""Cost of a video detector's parts in operations, and the ratios of DFF Eqs. 5-7.

One FLOP is one multiply-add, as in DFF Table 2. Convolutions, deconvolutions, matrix products, attention and bilinear
sampling are counted on the real modules, for one frame. Not counted: additions of biases, normalization, activations,
pooling (of regions too), products of two maps, resizing, proposals, non-maximum suppression, and the operators of a
compiled mmcv, which PyTorch's counter does not know (deformable convolutions; those of torchvision are counted).

The cost of a second stage per region depends on the number of regions that the untrained first stage proposes. The
ratio of Table 2 is ``N_feat / (F + S)``: its 1 x 1 convolution counts as part of the flow network, and its ResNets have
their strides on the first 1 x 1 convolution of a block (style 'caffe').
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torchvision  # noqa: F401 (registers its operators)
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from semidff.checkpoints.building import build_video_detector
from semidff.models.video_detector import VideoDetector
from semidff.synthetic.smooth_video import smooth_frames
from semidff.utils.atomic_write import write_json
from semidff.utils.command_line import Count, Input, Output
from semidff.utils.tables import text_table

from .speed import PARTS, batch_of, speedup_of


class Cost(NamedTuple):
    """Multiply-adds of a part for one frame, and its number of parameters."""

    flops: int
    parameters: int


class ComplexityReport(NamedTuple):
    """Result of :func:`measure_complexity`.

    Attributes:
        size: Height and width of the network's input, padding included.
        parts: Costs, with names of :data:`~semidff.points.speed.PARTS`. ``task_network`` is that of non-key frames;
            ``task_key``, that of key frames, is there where the model has other test settings for non-key frames.
    """

    size: tuple[int, int]
    parts: dict[str, Cost]

    @property
    def ratio(self) -> float:
        """r of DFF Eq. 5."""
        non_key = self._sum('flow', 'scale', 'warp', 'task_network')
        task_key = 'task_key' if 'task_key' in self.parts else 'task_network'
        return non_key / self._sum('feature_network', task_key)

    @property
    def inverse_ratios(self) -> dict[str, float]:
        """1 / r of DFF Eq. 6, for F alone and for F with S; empty where F is not a network."""
        features, flow = self._sum('feature_network'), self._sum('flow')
        if not flow:
            return {}
        both = self._sum('flow', 'scale')
        return {'N_feat / F': features / flow, 'N_feat / (F + S)': features / both}

    def to_dict(self, key_intervals: Sequence[int]) -> dict:
        """All figures, for JSON: speed-ups at each of the key-frame intervals l."""
        return dict(
            height=self.size[0],
            width=self.size[1],
            parts={name: cost._asdict() for name, cost in self.parts.items()},
            flow_is_network=self.parts['flow'].flops > 0,
            ratio=self.ratio,
            inverse_ratios=self.inverse_ratios,
            speedups={length: speedup_of(self.ratio, length) for length in key_intervals},
        )

    def text(self, key_intervals: Sequence[int]) -> str:
        """Tables for a terminal, with the figures of :meth:`to_dict`."""
        rows = [('one frame of {} x {}'.format(*self.size), 'GFLOPs', 'M params')]
        for name, cost in self.parts.items():
            rows.append((PARTS[name], f'{cost.flops / 1e9:.3f}', f'{cost.parameters / 1e6:.3f}'))
        speedups = self.to_dict(key_intervals)['speedups'].items()
        ratios = [
            ('', 'counted'),
            *((f'1 / r (DFF Eq. 6), {k}', f'{v:.2f}') for k, v in self.inverse_ratios.items()),
            ('r (DFF Eq. 5)', f'{self.ratio:.4f}'),
            *((f's (DFF Eq. 7) at l = {length}', f'{value:.2f}') for length, value in speedups),
        ]
        notes = [
            'FLOPs are multiply-adds. Not counted: biases, normalization, activations, pooling, products '
            'of maps, resizing, proposals and non-maximum suppression.'
        ]
        if not self.parts['flow'].flops:
            notes.append(
                'F is not a network and is not counted: r and s are those of the other parts. The times of '
                'tools/analysis/speed.py include it.'
            )
        return '\n'.join([text_table(rows), text_table(ratios), *notes])

    def _sum(self, *names: str) -> int:
        return sum(self.parts[name].flops for name in names)


def report_complexity(
    config: Input,
    *,
    size: tuple[Count, Count] = (600, 1000),
    key_intervals: Sequence[Count] = (1, 2, 5, 10, 20),
    json: Output | None = None,
    cfg_options: dict | None = None,
) -> str:
    """Count the operations and parameters of a video detector's parts, and compute the ratios of DFF Eqs. 5 to 7.

    FLOPs are multiply-adds. Weights are random; nothing is downloaded.

    Args:
        config: Config of a video detector.
        size: Height and width of a frame in pixels.
        key_intervals: Key-frame intervals of the speed-ups.
        json: Write the figures as JSON.
        cfg_options: Settings that replace those of the config.

    Returns:
        Tables for a terminal.
    """
    report = measure_complexity(build_video_detector(config, cfg_options), *size)
    if json:
        figures = dict(config=str(config), **report.to_dict(key_intervals))
        write_json(figures, json, indent=2, nan_as_null=True)
    return report.text(key_intervals)


@torch.no_grad()
def measure_complexity(model: VideoDetector, height: int, width: int) -> ComplexityReport:
    """Count the operations of each part of a video detector for a frame of ``height`` x ``width`` pixels.

    The data preprocessor may pad the frame. The model is put into eval mode and frozen.
    """
    # PyTorch's counter would ask for gradients of weights that modules take as inputs (Deformable DETR's queries).
    temporal = model.eval().requires_grad_(False).temporal
    data = model.data_preprocessor(batch_of(smooth_frames(1, height, width)[0]), False)
    inputs, samples = data['inputs'], data['data_samples']
    image = temporal.prepare(inputs)
    task, settings, parts = model.part('task_network'), model.non_key_test_cfg, {}

    def scale_field(hidden: Tensor) -> Tensor | None:
        return None if temporal.scale is None else temporal.scale(hidden)

    def warp(features: Sequence[Tensor], output: Any, scale: Tensor | None) -> tuple:
        correction = temporal.correction
        context = None if correction is None else correction.context_of(output.hidden, image)
        return temporal.propagate(features, output.flow, scale, context)

    def add(name: str, modules: Sequence[nn.Module | None], function: Callable, *args: Any) -> Any:
        flops, result = count(function, *args)
        weights = {p for module in modules if module is not None for p in module.parameters()}
        parts[name] = Cost(flops, sum(p.numel() for p in weights))
        return result

    features = add('feature_network', model.part('feature_network'), model.spatial.features, inputs)
    output = add('flow', [temporal.flow_network], temporal.flow_network, image, image)
    scale = add('scale', [temporal.scale], scale_field, output.hidden)
    add('warp', [temporal.correction], warp, features, output, scale)
    add('task_network', task, model.spatial.predict, features, samples, settings)
    if settings:
        add('task_key', task, model.spatial.predict, features, samples)
    return ComplexityReport(tuple(inputs.shape[-2:]), parts)


def count(function: Callable, *arguments: Any) -> tuple[int, Any]:
    """Return the multiply-adds of a call, and its result."""
    with FlopCounterMode(display=False, custom_mapping=_MORE) as counter:
        result = function(*arguments)
    return counter.get_total_flops() // 2, result  # the counter has two for a multiply-add


def _bilinear(*args: Any, out_shape: Sequence[int], **kwargs: Any) -> int:
    """FLOPs of four neighbors, a multiply-add each, for every element of the output (DFF Eq. 1)."""
    return 2 * 4 * torch.Size(out_shape).numel()


def _bilinear_rows(*args: Any, out_shape: Sequence, **kwargs: Any) -> int:
    """FLOPs of the same for channels-last maps, see :class:`~semidff.models.temporal.warp.MapSampler`."""
    return _bilinear(out_shape=out_shape[0])


def _deformable(
    input: Sequence, weight: Sequence, *args: Any, out_shape: Sequence[int], **kwargs: Any
) -> int:
    """FLOPs of a convolution, and of sampling each of its inputs."""
    samples = (out_shape[0], *out_shape[2:], input[1], *weight[2:])
    return 2 * torch.Size((*out_shape, *weight[1:])).numel() + _bilinear(out_shape=samples)


_MORE = {
    torch.ops.aten.grid_sampler_2d: _bilinear,
    torch.ops.aten.cudnn_grid_sampler: _bilinear,
    torch.ops.aten._embedding_bag_forward_only: _bilinear_rows,
    torch.ops.torchvision.deform_conv2d: _deformable,
}
