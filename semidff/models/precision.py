"""What stays in float32 in mixed precision, and what stays contiguous in channels-last order."""

from contextlib import nullcontext
from functools import partial
from typing import Any

import mmcv.ops
import torch
from mmcv.cnn.bricks.conv_ws import ConvAWS2d, ConvWS2d
from mmdet.models.dense_heads import TOODHead
from mmdet.models.roi_heads.mask_heads import MaskPointHead
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from mmengine.utils import apply_to
from torch import Tensor, nn

COMPILED_OPERATORS = (
    *(
        kind
        for kind in vars(mmcv.ops).values()
        if isinstance(kind, type) and issubclass(kind, nn.Module)
    ),
    BaseRoIExtractor,  # its layers are mmcv's as a rule, and its inputs are all the maps
    TOODHead,  # calls one as a function
)
"""Classes of modules that run compiled operators of mmcv."""

PRECISE: set[type[nn.Module] | str] = set()
"""Those of all :class:`~semidff.models.spatial.HeadFamily`; likewise ``CONTIGUOUS``."""
# For transposed inputs of attention, PyTorch copies the weights once per query.
CONTIGUOUS: set[type[nn.Module]] = {nn.MultiheadAttention}


def keep_boxes_precise(detector: nn.Module) -> None:
    """Let an mmdet detector predict and learn in mixed precision, in place.

    Half precision cannot represent pixel coordinates, and mmcv's compiled operators do not take it,
    or not all of their inputs. Modules that use such an operator and those in ``PRECISE`` run in
    full precision. Of deformable attention, only the projections of values and outputs do not. The
    outputs of all heads become float32.
    """
    kinds = tuple(kind for kind in PRECISE if isinstance(kind, type))
    for name, module in detector.named_modules():
        if isinstance(module, mmcv.ops.MultiScaleDeformableAttention):
            for child in (module.sampling_offsets, module.attention_weights):
                run_in_full_precision(child)
            for child in (module.value_proj, module.output_proj):
                _return_full(child)
            continue
        if isinstance(module, (*COMPILED_OPERATORS, *kinds)) or name.rpartition('.')[2] in PRECISE:
            run_in_full_precision(module)
        if isinstance(module, kinds):  # encoder and decoder call the branches of a DETR's head
            for child in module.children():
                for branch in child if isinstance(child, nn.ModuleList) else [child]:
                    run_in_full_precision(branch)
        if hasattr(module, 'predict_by_feat') or isinstance(module, MaskPointHead):
            _return_full(module)


def run_in_full_precision(module: nn.Module) -> None:
    """Run a module and its submodules on float32 inputs and without autocast, in place."""
    # Unlike a closure or a bound function, it is copied and pickled with the module.
    module.forward = partial(_forward_in_full_precision, module)


def to_half(model: nn.Module, dtype: torch.dtype) -> None:
    """Convert weights once, in place, to the type to which autocast would convert them every time.

    Modules that run in full precision keep their weights.
    """
    forward = vars(model).get('forward')
    if isinstance(forward, partial) and forward.func is _forward_in_full_precision:
        return
    if isinstance(model, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        model.to(dtype)
    for child in model.children():
        to_half(child, dtype)


def _forward_in_full_precision(module: nn.Module, *inputs: Any, **keywords: Any) -> Any:
    inputs, keywords = _full((inputs, keywords))
    devices: list[str] = []
    apply_to((inputs, keywords), torch.is_tensor, lambda tensor: devices.append(tensor.device.type))
    # Meta tensors, with which operations are counted, have no autocast.
    known = torch.amp.is_autocast_available(devices[0])
    with torch.autocast(devices[0], enabled=False) if known else nullcontext():
        return type(module).forward(module, *inputs, **keywords)


def _return_full(module: nn.Module) -> None:
    if _full_output not in module._forward_hooks.values():
        module.register_forward_hook(_full_output)


def _full_output(module: nn.Module, inputs: tuple, output: Any) -> Any:
    return _full(output)


def _full(value: Any) -> Any:
    """Convert tensors of half precision to float32, in nested lists, tuples and dicts too."""
    half = torch.bfloat16, torch.float16
    return apply_to(value, lambda v: torch.is_tensor(v) and v.dtype in half, Tensor.float)


def to_channels_last(model: nn.Module) -> None:
    """Put the weights of convolutions into channels-last order, in place.

    mmcv's compiled operators read the memory of a map as if it were contiguous: from a
    channels-last map they compute wrong values without an error, or fail. Modules that run one
    therefore keep contiguous weights, submodules included, and their inputs are made contiguous. A
    second call changes nothing; the state dict stays the same.
    """
    if isinstance(model, (*COMPILED_OPERATORS, *CONTIGUOUS)):
        if _contiguous_inputs not in model._forward_pre_hooks.values():
            model.register_forward_pre_hook(_contiguous_inputs, with_kwargs=True)
        return
    standardized = isinstance(model, ConvWS2d | ConvAWS2d)  # call `view` on their weights
    if isinstance(model, nn.Conv2d | nn.ConvTranspose2d) and not standardized:
        model.weight.data = model.weight.data.to(memory_format=torch.channels_last)
    for child in model.children():
        to_channels_last(child)


def _contiguous_inputs(module: nn.Module, inputs: tuple, keywords: dict) -> tuple[tuple, dict]:
    return apply_to((inputs, keywords), torch.is_tensor, Tensor.contiguous)
