"""The memory layout in which convolutions are fast, and what cannot read it."""

import torch
from mmdet.models.roi_heads.roi_extractors.base_roi_extractor import BaseRoIExtractor
from torch import nn


def to_channels_last(model: nn.Module) -> None:
    """Puts a model's weights into channels-last order; convolutions hand it on to their outputs.

    RoI extractors get contiguous maps all the same: mmcv's RoIAlign takes channels-last ones for contiguous ones and
    reads wrong values from them, without an error. Doing it again changes nothing.

    Args:
        model (nn.Module): The model; its state dict stays the same.
    """
    model.to(memory_format=torch.channels_last)
    for module in model.modules():
        known = module._forward_pre_hooks.values()
        if isinstance(module, BaseRoIExtractor) and _contiguous_maps not in known:
            module.register_forward_pre_hook(_contiguous_maps)


def _contiguous_maps(extractor: nn.Module, inputs: tuple) -> tuple:
    maps, *others = inputs
    return tuple(level.contiguous() for level in maps), *others
