"""Channels-last memory format, and the modules that cannot read it."""

import logging

import torch
from mmcv.cnn.bricks.conv_ws import ConvAWS2d, ConvWS2d
from mmdet.models.dense_heads import CenterNetHead, CornerHead
from mmdet.models.roi_heads.mask_heads import GridHead
from mmengine.logging import print_log
from mmengine.utils import apply_to
from torch import Tensor, nn

from .compiled_operators import uses_compiled_operators
from .spatial import SpatialModule
from .spatial.probe import probe

_DEVIATION = 0.01
"""Relative deviation of features above which they are wrong; rounding causes less than 0.0001."""


def to_channels_last(model: nn.Module) -> None:
    """Put the weights of a model into channels-last order; convolutions hand the order on to their outputs.

    mmcv's compiled operators read the memory of a map as if it were contiguous: from a channels-last map they compute
    wrong values without an error, or fail. Modules of ``mmcv.ops``, and modules that call such an operator as a
    function, therefore keep contiguous weights, submodules included, and their inputs are made contiguous.
    Convolutions with weight standardization keep contiguous weights. A second call changes nothing; the state dict
    stays the same.

    Operators of other libraries are not known here. The features that a video detector computes from a random image
    are compared with those before; if they differ, its feature network and its teacher's stay contiguous, with a
    warning.
    """
    spatial = getattr(model, 'spatial', None)
    before = _probed(spatial)
    _convert(model)
    if before is None:
        return
    deviation = _deviation(before, _probed(spatial))
    if not deviation <= _DEVIATION:  # it may be NaN
        # A teacher may have a copy of the feature network.
        networks = (own.feature_network for own in (spatial, getattr(model, 'teacher', spatial)))
        for module in {module for network in networks for module in network}:
            _keep_contiguous(module)
        print_log(
            f'channels-last maps change the features of {type(spatial.detector).__name__} (relative deviation '
            f'{deviation:.2g}): its feature network keeps contiguous ones, which is slower',
            logger='current',
            level=logging.WARNING,
        )


def _convert(model: nn.Module) -> None:
    if _contiguous_inputs in model._forward_pre_hooks.values():
        return
    # The post-processing of these heads calls `view` on their outputs, which have the order of the inputs.
    if isinstance(model, CenterNetHead | CornerHead | GridHead) or uses_compiled_operators(
        type(model)
    ):
        _keep_contiguous(model)
        return
    # Their forward() calls `view` on the weights.
    if isinstance(model, ConvWS2d | ConvAWS2d):
        return
    for tensor in (*model.parameters(recurse=False), *model.buffers(recurse=False)):
        if tensor.dim() == 4:
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
    for child in model.children():
        _convert(child)


def _keep_contiguous(module: nn.Module) -> None:
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = tensor.data.contiguous()
    module.register_forward_pre_hook(_contiguous_inputs, with_kwargs=True)


def _contiguous_inputs(module: nn.Module, inputs: tuple, keywords: dict) -> tuple[tuple, dict]:
    return apply_to((inputs, keywords), torch.is_tensor, Tensor.contiguous)


def _probed(spatial: SpatialModule | None) -> tuple[Tensor, ...] | None:
    """Return the features of a random image, None if they cannot be computed."""
    try:
        return probe(spatial, spatial.features)[1] if spatial else None
    except RuntimeError:
        return None


def _deviation(before: tuple[Tensor, ...], after: tuple[Tensor, ...] | None) -> float:
    if after is None:
        return float('inf')
    pairs = zip(before, after, strict=True)
    deviations = [(a - b).norm() / a.norm().clamp(min=1e-12) for a, b in pairs]
    return torch.stack(deviations).max().item()
