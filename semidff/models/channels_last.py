"""Channels-last memory format, and the operators that cannot read it."""

import functools
import sys

import mmcv.ops
import torch
from mmdet.models.dense_heads import CenterNetHead, CornerHead
from mmdet.models.roi_heads.roi_extractors.base_roi_extractor import BaseRoIExtractor
from mmengine.utils import apply_to
from torch import Tensor, nn

# Compiled operators that mmdetection's modules call as functions.
_FUNCTIONS = {
    id(value) for value in vars(mmcv.ops).values() if getattr(value, '__name__', '') == 'apply'
}


def to_channels_last(model: nn.Module) -> None:
    """Put the weights of a model into channels-last order; convolutions hand the order on to their outputs.

    mmcv's compiled operators read the memory of a map as if it were contiguous: from a channels-last map they compute
    wrong values without an error, or fail. Modules of ``mmcv.ops``, and modules that call such an operator as a
    function, therefore keep contiguous weights, submodules included, and their inputs are made contiguous. A second
    call changes nothing; the state dict stays the same.
    """
    # The post-processing of these heads calls `view` on their outputs, which have the order of the inputs.
    if isinstance(model, CenterNetHead | CornerHead) or uses_compiled_operators(type(model)):
        if _contiguous_inputs not in model._forward_pre_hooks.values():
            model.register_forward_pre_hook(_contiguous_inputs, with_kwargs=True)
        return
    for tensor in (*model.parameters(recurse=False), *model.buffers(recurse=False)):
        if tensor.dim() == 4:
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
    for child in model.children():
        to_channels_last(child)


@functools.cache
def uses_compiled_operators(kind: type[nn.Module]) -> bool:
    """Return whether modules of a class are operators of mmcv or call one as a function."""
    # An extractor's layers are mmcv's as a rule, and its inputs are all the maps.
    if issubclass(kind, BaseRoIExtractor):
        return True
    for cls in kind.__mro__:
        if cls.__module__.startswith('mmcv.ops.'):
            return True
        names = vars(sys.modules[cls.__module__])
        if cls.__module__.startswith('mmdet.') and any(
            id(value) in _FUNCTIONS for value in names.values()
        ):
            return True
    return False


def _contiguous_inputs(module: nn.Module, inputs: tuple, keywords: dict) -> tuple[tuple, dict]:
    return apply_to((inputs, keywords), torch.is_tensor, Tensor.contiguous)
