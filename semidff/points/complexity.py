"""Cost of a video detector's parts in operations, and the ratios of DFF Eqs. 5-7.

A FLOP is a multiply-add, as in DFF Table 2. docs/analysis.md says what is counted, on the real
modules, for a frame; PyTorch's counter does not know the operators of a compiled mmcv.

The cost of a second stage per region depends on the number of regions that the untrained first
stage proposes. The ratio of Table 2 is ``N_feat / (F + S)``: its 1 x 1 convolution counts as part
of the flow network, and its ResNets have their strides on the first 1 x 1 convolution of a block
(style 'caffe').
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

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

_NOTE = """FLOPs are multiply-adds. Not counted: biases, normalization, activations, pooling, \
products of maps, resizing, proposals and non-maximum suppression."""
_NO_NETWORK = """
F is not a network and is not counted: r and s are those of the other parts. The times of \
tools/analysis/speed.py include it."""


def report_complexity(
    config: Input,
    *,
    size: tuple[Count, Count] = (600, 1000),
    key_intervals: Sequence[Count] = (1, 2, 5, 10, 20),
    json: Output | None = None,
    cfg_options: dict | None = None,
) -> str:
    """Count the operations and parameters of a video detector's parts, and compute DFF Eqs. 5 to 7.

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
    costs = measure_complexity(build_video_detector(config, cfg_options), *size)
    figures = figures_of(costs, key_intervals)
    if json:
        write_json(dict(config=str(config), **figures), json, indent=2, nan_as_null=True)
    return text_of(figures)


def figures_of(costs: Mapping[str, Any], key_intervals: Sequence[int]) -> dict[str, Any]:
    """Return the costs of :func:`measure_complexity`, and the figures of DFF Eqs. 5 to 7.

    ``inverse_ratios`` are 1 / r of Eq. 6, for F alone and for F with S; empty where F is not a
    network.
    """
    flops = {name: part['flops'] for name, part in costs['parts'].items()}
    non_key = flops['flow'] + flops['scale'] + flops['warp'] + flops['task_network']
    features, task_key = flops['feature_network'], flops.get('task_key', flops['task_network'])
    ratio, inverse = non_key / (features + task_key), {}
    if flops['flow']:
        inverse['N_feat / F'] = features / flops['flow']
        inverse['N_feat / (F + S)'] = features / (flops['flow'] + flops['scale'])
    return dict(
        costs,
        flow_is_network=flops['flow'] > 0,
        ratio=ratio,
        inverse_ratios=inverse,
        speedups={length: speedup_of(ratio, length) for length in key_intervals},
    )


def text_of(figures: Mapping[str, Any]) -> str:
    """Return tables for a terminal."""
    rows = [(f'one frame of {figures["height"]} x {figures["width"]}', 'GFLOPs', 'M params')]
    for name, part in figures['parts'].items():
        numbers = f'{part["flops"] / 1e9:.3f}', f'{part["parameters"] / 1e6:.3f}'
        rows.append((PARTS[name], *numbers))
    inverse, speedups = figures['inverse_ratios'].items(), figures['speedups'].items()
    ratios = [
        ('', 'counted'),
        *((f'1 / r (DFF Eq. 6), {parts}', f'{value:.2f}') for parts, value in inverse),
        ('r (DFF Eq. 5)', f'{figures["ratio"]:.4f}'),
        *((f's (DFF Eq. 7) at l = {length}', f'{value:.2f}') for length, value in speedups),
    ]
    note = _NOTE if figures['flow_is_network'] else _NOTE + _NO_NETWORK
    return '\n'.join([text_table(rows), text_table(ratios), note])


@torch.no_grad()
def measure_complexity(model: VideoDetector, height: int, width: int) -> dict[str, Any]:
    """Count the operations of each part of a video detector for a frame of so many pixels.

    The data preprocessor may pad the frame. The model is put into eval mode and frozen.

    Returns:
        ``height`` and ``width`` of the network's input, padding included, and ``parts``: ``flops``
        and ``parameters`` by names of :data:`~semidff.points.speed.PARTS`. ``task_network`` is that
        of non-key frames; ``task_key``, that of key frames, is there where the model has other test
        settings for non-key frames.
    """
    # PyTorch's counter would ask for gradients of weights that are inputs (Deformable DETR).
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
        parts[name] = dict(flops=flops, parameters=sum(p.numel() for p in weights))
        return result

    features = add('feature_network', model.part('feature_network'), model.spatial.features, inputs)
    output = add('flow', [temporal.flow_network], temporal.flow_network, image, image)
    scale = add('scale', [temporal.scale], scale_field, output.hidden)
    add('warp', [temporal.correction], warp, features, output, scale)
    add('task_network', task, model.spatial.predict, features, samples, settings)
    if settings:
        add('task_key', task, model.spatial.predict, features, samples)
    return dict(height=inputs.shape[-2], width=inputs.shape[-1], parts=parts)


def count(function: Callable, *arguments: Any) -> tuple[int, Any]:
    """Return the multiply-adds of a call, and its result."""
    with FlopCounterMode(display=False, custom_mapping=_MORE) as counter:
        result = function(*arguments)
    return counter.get_total_flops() // 2, result  # the counter has two for a multiply-add


def _bilinear(*args: Any, out_shape: Sequence[int], **kwargs: Any) -> int:
    """FLOPs of four neighbors, a multiply-add each, for every element of the output (DFF Eq. 1)."""
    return 2 * 4 * torch.Size(out_shape).numel()


def _bilinear_rows(*args: Any, out_shape: Sequence, **kwargs: Any) -> int:
    """FLOPs for channels-last maps, see :class:`~semidff.models.temporal.warp.MapSampler`."""
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
