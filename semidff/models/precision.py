"""What stays in float32 when a detector runs under autocast or with weights of half precision."""

from contextlib import nullcontext
from functools import partial
from itertools import chain
from typing import Any

import torch
from mmdet.models.dense_heads import CenterNetHead, DETRHead, YOLOFHead
from mmdet.models.roi_heads.mask_heads import MaskPointHead
from mmengine.utils import apply_to
from torch import Tensor, nn

from .compiled_operators import uses_compiled_operators

# CenterNet's head returns probabilities, among which its post-processing looks for local maxima: rounded, neighbors are
# equal. DETR's heads return boxes relative to the frame, from a sigmoid: rounded to bfloat16, by up to 1/512 of it.
# YOLOF's head limits exponentials to 1e8, which float16 cannot represent.
_PRECISE = CenterNetHead, DETRHead, YOLOFHead
# What a DETR-type detector computes its reference points with, outside the branches of its head.
_REFERENCE_POINTS = 'reference_points_fc', 'ref_point_head'


def keep_boxes_precise(detector: nn.Module) -> None:
    """Let an mmdet detector predict and learn in mixed precision, in place.

    Half precision cannot represent pixel coordinates, and mmcv's compiled operators do not take it, or not all of
    their inputs. Modules that use such an operator, the heads of CenterNet, YOLOF and DETR-type detectors, and what
    the latter compute reference points with, run in full precision. The outputs of all heads, from which boxes are
    decoded and losses computed, become float32.
    Without tensors of half precision nothing changes. A second call changes nothing.
    """
    for name, module in detector.named_modules():
        if (
            uses_compiled_operators(type(module))
            or isinstance(module, _PRECISE)
            or name.rpartition('.')[2] in _REFERENCE_POINTS
        ):
            run_in_full_precision(module)
        if isinstance(module, DETRHead):
            for branch in _branches(module):
                run_in_full_precision(branch)
        hooks = module._forward_hooks.values()
        is_head = hasattr(module, 'predict_by_feat') or isinstance(module, MaskPointHead)
        if is_head and _full_output not in hooks:
            module.register_forward_hook(_full_output)


def _branches(head: DETRHead) -> list[nn.Module]:
    """Return the parts of a head that encoder and decoder call themselves, to choose and refine reference boxes."""
    children = (child if isinstance(child, nn.ModuleList) else [child] for child in head.children())
    return list(chain.from_iterable(children))


def run_in_full_precision(module: nn.Module) -> None:
    """Run a module and its submodules on float32 inputs and without autocast, in place."""
    # Unlike a closure or a bound function, it is copied and pickled with the module.
    module.forward = partial(_forward_in_full_precision, module)


def to_half(model: nn.Module, dtype: torch.dtype) -> None:
    """Convert weights once, in place, to the type to which autocast would convert them for every frame.

    Modules that run in full precision keep their weights.
    """
    if _runs_in_full_precision(model):
        return
    if isinstance(model, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        model.to(dtype)
    for child in model.children():
        to_half(child, dtype)


def _runs_in_full_precision(module: nn.Module) -> bool:
    forward = vars(module).get('forward')
    return isinstance(forward, partial) and forward.func is _forward_in_full_precision


def _forward_in_full_precision(module: nn.Module, *inputs: Any, **keywords: Any) -> Any:
    inputs, keywords = _full((inputs, keywords))
    devices: list[str] = []
    apply_to((inputs, keywords), torch.is_tensor, lambda tensor: devices.append(tensor.device.type))
    # Meta tensors, with which operations are counted, have no autocast.
    known = torch.amp.is_autocast_available(devices[0])
    with torch.autocast(devices[0], enabled=False) if known else nullcontext():
        return type(module).forward(module, *inputs, **keywords)


def _full_output(module: nn.Module, inputs: tuple, output: Any) -> Any:
    return _full(output)


def _full(value: Any) -> Any:
    """Convert tensors of half precision to float32, in nested lists, tuples and dicts too."""
    half = torch.bfloat16, torch.float16
    return apply_to(value, lambda v: torch.is_tensor(v) and v.dtype in half, Tensor.float)
