"""mmcv's operators for detectors, computed by torchvision's, on the CPU and on GPUs.

:mod:`import_hooks` lets mmcv import this file as ``mmcv._ext`` where mmcv is not compiled. Names
and arguments are those of ``mmcv.ops``, which allocates most results; they are written there.
"""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
import torchvision
from torch import Tensor

from semidff.compat.import_hooks import MissingOperatorError  # absolute: this module is mmcv._ext

# torchvision's public functions have no separate gradients; these operators do.
_ops = torch.ops.torchvision


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    # torchvision sorts, too, but sorted boxes are read faster. Equal scores keep mmcv's order.
    scores, order = scores.sort(descending=True)
    return order[_ops.nms(_inclusive(boxes, offset)[order], scores, iou_threshold)]


def _inclusive(boxes: Tensor, offset: int) -> Tensor:
    """Return boxes (N, 4) whose sides are ``x2 - x1 + offset`` and ``y2 - y1 + offset``."""
    return boxes + boxes.new_tensor([0, 0, offset, offset]) if offset else boxes


def softnms(boxes: Tensor, scores: Tensor, dets: Tensor, **settings: Any) -> Tensor:
    """Write boxes with decayed scores, best first, to ``dets`` (N, 5); return their indices."""
    indices, chosen = torch.arange(len(boxes)), []
    while len(indices):
        best = scores.argmax()
        dets[len(chosen)] = torch.cat([boxes[best], scores[best, None]])
        chosen.append(indices[best])
        sides = _inclusive(boxes, settings['offset'])
        iou = torchvision.ops.box_iou(sides[best, None], sides)[0].nan_to_num()
        apart = iou < settings['iou_threshold']
        gaussian = (-iou.square() / settings['sigma']).exp()
        scores = scores * (apart, torch.where(apart, 1, 1 - iou), gaussian)[settings['method']]
        left = scores >= settings['min_score']
        left[best] = False
        boxes, scores, indices = boxes[left], scores[left], indices[left]
    return torch.stack(chosen) if chosen else indices


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Return groups of indices of ``dets`` (N, 5): a kept box and the boxes it suppresses."""
    left, groups = dets[:, 4].argsort(descending=True), []
    while len(left):
        group = torchvision.ops.box_iou(dets[left[:1], :4], dets[left, :4])[0] >= iou_threshold
        group[0] = True
        groups.append(left[group].tolist())
        left = left[~group]
    return groups


def roi_align_forward(*tensors: Tensor, **settings: Any) -> None:
    input, rois, output, *_ = tensors
    bins, sampling = _pooling(**settings)
    output.copy_(_ops.roi_align(input, rois, *bins, *sampling))


def roi_align_backward(*tensors: Tensor, **settings: Any) -> None:
    grad, rois, _, _, grad_input = tensors
    bins, sampling = _pooling(**settings)
    result = _ops._roi_align_backward(grad, rois, *bins, *grad_input.shape, *sampling)
    grad_input.copy_(result)


def _pooling(
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> tuple[tuple, tuple]:
    if pool_mode != 1:
        _missing('roi_align with pool_mode="max"')
    return (spatial_scale, aligned_height, aligned_width), (sampling_ratio, aligned)


def deform_conv_forward(*tensors: Tensor, **settings: int) -> None:
    input, weight, offset, output, *_ = tensors
    output.copy_(_ops.deform_conv2d(*_unmodulated(input, weight, offset, settings)))


def deform_conv_backward_input(*tensors: Tensor, **settings: int) -> None:
    input, offset, grad, grad_input, grad_offset, weight, _ = tensors
    inputs = _unmodulated(input, weight, offset, settings)
    results = _ops._deform_conv2d_backward(grad, *inputs)
    grad_input.copy_(results[0])
    grad_offset.copy_(results[2])


def deform_conv_backward_parameters(*tensors: Tensor, scale: float, **settings: int) -> None:
    input, offset, grad, grad_weight, *_ = tensors
    inputs = _unmodulated(input, grad_weight, offset, settings)  # the weights do not matter
    grad_weight.add_(_ops._deform_conv2d_backward(grad, *inputs)[1], alpha=scale)


def _unmodulated(input: Tensor, weight: Tensor, offset: Tensor, settings: dict) -> tuple:
    """Return torchvision's arguments, with its placeholder for the mask, and without bias."""
    mask, bias = offset.new_zeros(len(offset), 1), input.new_zeros(len(weight))
    geometry = _geometry('d{} pad{} dilation{}', 'HW', settings)
    return input, weight, _outside_if_nan(offset), mask, bias, *geometry, False


def _outside_if_nan(offset: Tensor) -> Tensor:
    """Move offsets that are NaN outside: torchvision would read memory outside of the map."""
    return torch.where(offset.isnan(), torch.inf, offset)


def _geometry(names: str, sides: str, settings: dict) -> list[int]:
    """Return stride, padding and dilation of rows and columns, and both numbers of groups."""
    values = [settings[name.format(side)] for name in names.split() for side in sides]
    return [*values, settings['group'], settings['deformable_group']]


def modulated_deform_conv_forward(*tensors: Tensor, **settings: int) -> None:
    input, weight, bias, _, offset, mask, output, _ = tensors
    inputs = _modulated((input, weight, offset, mask, bias), output, settings)
    output.copy_(_ops.deform_conv2d(*inputs))


def modulated_deform_conv_backward(*tensors: Tensor, **settings: int) -> None:
    input, weight, bias, _, offset, mask, _, *targets, grad = tensors
    inputs = _modulated((input, weight, offset, mask, bias), grad, settings)
    grad_input, grad_weight, grad_bias, grad_offset, grad_mask = targets
    maps = _first_cells(grad_offset, grad), _first_cells(grad_mask, grad)
    results = _ops._deform_conv2d_backward(grad, *inputs)
    for target, result in zip((grad_input, grad_weight, *maps, grad_bias), results, strict=True):
        target.copy_(result[: len(target)])  # without bias, mmcv has an empty gradient for it


def _modulated(inputs: Sequence[Tensor], output: Tensor, settings: dict) -> tuple:
    input, weight, offset, mask, bias = inputs
    maps = _outside_if_nan(_first_cells(offset, output)), _first_cells(mask, output)
    bias = bias if settings['with_bias'] else input.new_zeros(len(weight))
    geometry = _geometry('stride_{} pad_{} dilation_{}', 'hw', settings)
    return input, weight, *maps, bias, *geometry, True


def _first_cells(maps: Tensor, output: Tensor) -> Tensor:
    """Return the first values of each picture as maps of the output's size, as mmcv does.

    DyHead's offsets are larger than the output where they are computed from a finer level.
    """
    size = output.shape[-2:]
    return maps.flatten(1)[:, : maps.shape[1] * size.numel()].unflatten(1, (maps.shape[1], *size))


def ms_deform_attn_forward(*tensors: Tensor, im2col_step: int) -> Tensor:
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    value, shapes, _, locations, weights = tensors
    return multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)


def ms_deform_attn_backward(*tensors: Tensor, im2col_step: int) -> None:
    value, shapes, starts, locations, weights, grad, *targets = tensors
    inputs = [tensor.detach().requires_grad_() for tensor in (value, locations, weights)]
    with torch.enable_grad():
        output = ms_deform_attn_forward(inputs[0], shapes, starts, *inputs[1:], im2col_step=1)
    for target, result in zip(targets, torch.autograd.grad(output, inputs, grad), strict=True):
        target.copy_(result)


def sigmoid_focal_loss_forward(*tensors: Tensor, **settings: float) -> None:
    input, labels, weight, output = tensors
    output.copy_(_focal_loss(input, labels, weight, **settings))


def sigmoid_focal_loss_backward(*tensors: Tensor, **settings: float) -> None:
    input, labels, weight, grad_input = tensors
    logits = input.detach().requires_grad_()
    with torch.enable_grad():
        loss = _focal_loss(logits, labels, weight, **settings).sum()
    grad_input.copy_(torch.autograd.grad(loss, logits)[0])


def _focal_loss(
    input: Tensor, labels: Tensor, weight: Tensor, gamma: float, alpha: float
) -> Tensor:
    if weight.numel():
        _missing('sigmoid_focal_loss with a weight for each class')
    classes = torch.arange(input.shape[1], device=labels.device)  # one label more is the background
    targets = (labels[:, None] == classes).to(input)
    return torchvision.ops.sigmoid_focal_loss(input, targets, alpha, gamma)


def _missing(name: str) -> NoReturn:
    message = f'{name} needs a compiled mmcv: make env OPERATORS=1 (docs/install.md)'
    raise MissingOperatorError(message)


def __getattr__(name: str) -> Callable[..., Any]:
    """Return a function that fails: mmcv.ops looks up all its operators when it is imported."""
    if name.startswith('__'):
        raise AttributeError(name)
    return lambda *args, **kwargs: _missing(name)
