"""mmcv's operators by those of torchvision, compared with formulas and, where mmcv is compiled,
with its own.
"""

import sys

import mmcv._ext
import mmcv.ops
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou

from semidff.compat import torchvision_operators

compiled = pytest.mark.skipif(
    mmcv._ext.__file__ == torchvision_operators.__file__,
    reason='mmcv is not compiled (make env OPERATORS=1)',
)


@pytest.fixture(params=[True, pytest.param(False, marks=compiled)], ids=['torchvision', 'compiled'])
def operators(request, monkeypatch):
    """mmcv.ops with the operators of torchvision, and with its own: both must fulfill each test."""
    if request.param:
        for name, module in list(sys.modules.items()):
            if name.startswith('mmcv.ops.') and hasattr(module, 'ext_module'):
                monkeypatch.setattr(module, 'ext_module', torchvision_operators)


def boxes_and_scores(count: int) -> tuple[Tensor, Tensor]:
    corners = torch.rand(count, 2) * 60
    return torch.cat([corners, corners + 5 + torch.rand(count, 2) * 30], 1), torch.rand(count)


def overlaps(boxes: Tensor, offset: int) -> Tensor:
    longer = boxes + torch.tensor([0, 0, offset, offset])
    return box_iou(longer, longer)


@pytest.mark.parametrize('offset', [0, 1])
def test_nms(operators, offset):
    boxes, scores = boxes_and_scores(200)
    kept = []
    for index in scores.argsort(descending=True).tolist():
        if not (overlaps(boxes, offset)[index, kept] > 0.4).any():
            kept.append(index)
    found, indices = mmcv.ops.nms(boxes, scores, 0.4, offset=offset)
    assert 10 < len(kept) < 150
    assert indices.tolist() == kept
    torch.testing.assert_close(found, torch.cat([boxes, scores[:, None]], 1)[kept])


@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
@pytest.mark.parametrize('offset', [0, 1])
def test_soft_nms(operators, method, offset):
    boxes, scores = boxes_and_scores(100)
    iou, left, expected = overlaps(boxes, offset), dict(enumerate(scores.tolist())), []
    while left:
        best = max(left, key=left.get)
        expected.append((best, left.pop(best)))
        for index in list(left):
            value = iou[best, index].item()
            hard = dict(naive=0.0, linear=1 - value)
            left[index] *= (
                torch.exp(torch.tensor(-(value**2) / 0.5)).item()
                if method == 'gaussian'
                else hard[method] if value >= 0.3 else 1.0
            )  # fmt: skip
            if left[index] < 0.05:
                del left[index]
    found, indices = mmcv.ops.soft_nms(boxes, scores, 0.3, 0.5, 0.05, method, offset)
    assert indices.tolist() == [index for index, _ in expected]
    assert torch.equal(found[:, :4], boxes[indices])
    torch.testing.assert_close(found[:, 4], torch.tensor([score for _, score in expected]))


def test_nms_match(operators):
    boxes, scores = boxes_and_scores(60)
    iou, left, expected = overlaps(boxes, 0), scores.argsort(descending=True).tolist(), []
    while left:
        group = [index for index in left if index == left[0] or iou[left[0], index] >= 0.4]
        expected.append(group)
        left = [index for index in left if index not in group]
    groups = mmcv.ops.nms_match(torch.cat([boxes, scores[:, None]], 1), 0.4)
    assert [group.tolist() for group in groups] == expected


def test_operators_without_boxes(operators):
    none = torch.zeros(0, 4), torch.zeros(0)
    for function in (mmcv.ops.nms, mmcv.ops.soft_nms):
        found, indices = function(*none, 0.5)
        assert found.shape == (0, 5) and indices.shape == (0,)
    assert mmcv.ops.roi_align(torch.rand(1, 2, 8, 8), torch.zeros(0, 5), 3).shape == (0, 2, 3, 3)


@pytest.mark.parametrize('aligned', [True, False])
def test_roi_align(operators, aligned):
    maps = torch.rand(2, 3, 16, 20, requires_grad=True)
    rois = torch.tensor([[0, 4, 6, 40, 50], [1, 10, 8, 60, 44], [0, 20, 20, 31, 27.0]])
    pooled = mmcv.ops.roi_align(maps, rois, (3, 4), 0.25, 2, 'avg', aligned)
    expected = []
    for index, x1, y1, x2, y2 in rois.tolist():
        left, top, right, bottom = (v / 4 - 0.5 * aligned for v in (x1, y1, x2, y2))
        y = top + (bottom - top) * (torch.arange(6) + 0.5) / 6  # 2 points in each of 3 bins
        x = left + (right - left) * (torch.arange(8) + 0.5) / 8
        points = torch.stack(torch.meshgrid(y, x, indexing='ij'), -1)
        expected.append(F.avg_pool2d(sampled(maps[int(index)][None], points[None]), 2))
    assert_same(pooled, torch.cat(expected), maps)


@pytest.mark.parametrize('modulated', [False, True])
@pytest.mark.parametrize('bias', [False, True])
def test_deformable_convolution(operators, modulated, bias):
    x = torch.rand(2, 4, 9, 12, requires_grad=True)
    weight = torch.rand(6, 2, 3, 2, requires_grad=True)
    own = torch.rand(6, requires_grad=True) if bias and modulated else None
    size, settings = (5, 13), dict(stride=(2, 1), padding=(2, 1), dilation=(2, 1))
    offset = (torch.randn(2, 2 * 2 * 6, *size)).requires_grad_()
    mask = torch.rand(2, 2 * 6, *size, requires_grad=True)
    geometry = *settings.values(), 2, 2
    if modulated:
        out = mmcv.ops.modulated_deform_conv2d(x, offset, mask, weight, own, *geometry)
    else:
        out = mmcv.ops.deform_conv2d(x, offset, weight, *geometry)
    expected = deformable(x, offset, mask if modulated else None, weight, own, **settings)
    assert_same(
        out, expected, x, offset, weight, *([mask] * modulated), *([own] if own is not None else [])
    )


def deformable(x, offset, mask, weight, bias, stride, padding, dilation) -> Tensor:
    """A deformable convolution with two groups, each with its own offsets (dy, dx) of each kernel
    element.
    """
    (rows, columns), (height, width) = weight.shape[-2:], offset.shape[-2:]
    grid = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    start = torch.stack(grid, -1) * torch.tensor(stride) - torch.tensor(padding)
    total: Tensor = 0
    for element in range(rows * columns):
        place = start + torch.tensor(divmod(element, columns)) * torch.tensor(dilation)
        groups = []
        for group, part in enumerate(x.chunk(2, 1)):
            number = group * rows * columns + element
            shift = offset[:, 2 * number : 2 * number + 2].permute(0, 2, 3, 1)
            values = sampled(part, place + shift)
            groups.append(values if mask is None else values * mask[:, number, None])
        kernel = weight[:, :, element // columns, element % columns, None, None]
        total = total + F.conv2d(torch.cat(groups, 1), kernel, groups=2)
    return total if bias is None else total + bias[:, None, None]


def test_offsets_of_a_finer_level(operators):
    """mmcv reads a map that is larger than the output as if its memory held one of the output's
    size.
    """
    x, weight = torch.rand(2, 4, 4, 5), torch.rand(3, 4, 3, 3)
    offset = torch.randn(2, 18, 8, 10, requires_grad=True)
    mask = torch.rand(2, 9, 8, 10, requires_grad=True)
    out = mmcv.ops.modulated_deform_conv2d(x, offset, mask, weight, None, 1, 1)
    small = [
        maps.reshape(2, -1)[:, : channels * 20].reshape(2, channels, 4, 5)
        for maps, channels in ((offset, 18), (mask, 9))
    ]
    assert_same(out, mmcv.ops.modulated_deform_conv2d(x, *small, weight, None, 1, 1), offset, mask)


def test_offsets_that_are_nan_sample_nothing(operators):
    x, weight = torch.rand(1, 2, 6, 6), torch.rand(3, 2, 3, 3)
    offset, mask = torch.randn(1, 18, 6, 6), torch.rand(1, 9, 6, 6)
    outside = offset.clone()
    offset[:, 4], outside[:, 4] = torch.nan, 100
    args = weight, 1, 1
    assert torch.equal(
        mmcv.ops.deform_conv2d(x, offset, *args), mmcv.ops.deform_conv2d(x, outside, *args)
    )
    args = mask, weight, None, 1, 1
    found, expected = (mmcv.ops.modulated_deform_conv2d(x, o, *args) for o in (offset, outside))
    assert torch.equal(found, expected)


def sampled(maps: Tensor, points: Tensor) -> Tensor:
    """Sample maps (N, C, H, W) bilinearly at points (N, h, w, 2), row first; zeros outside."""
    height, width = maps.shape[-2:]
    scale = torch.tensor([2 / (width - 1), 2 / (height - 1)])
    return F.grid_sample(maps, points.flip(-1) * scale - 1, align_corners=True)


def assert_same(found: Tensor, expected: Tensor, *inputs: Tensor) -> None:
    """Compare two results, and the gradients of a weighted sum of each."""
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    weights = torch.rand_like(found)
    pairs = (torch.autograd.grad((y * weights).sum(), inputs) for y in (found, expected))
    for gradient, other in zip(*pairs, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-4)


def test_deformable_attention(monkeypatch):
    """A compiled mmcv has no such operator for the CPU."""
    module = sys.modules['mmcv.ops.multi_scale_deform_attn']
    monkeypatch.setattr(module, 'ext_module', torchvision_operators)
    shapes = torch.tensor([[6, 4], [3, 2]])
    value = torch.rand(2, 30, 2, 4, requires_grad=True)
    locations = torch.rand(2, 5, 2, 2, 3, 2, requires_grad=True)
    weights = torch.rand(2, 5, 2, 2, 3, requires_grad=True)
    out = module.MultiScaleDeformableAttnFunction.apply(
        value, shapes, torch.tensor([0, 24]), locations, weights, 64
    )
    expected = module.multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)
    assert_same(out, expected, value, locations, weights)


def test_sigmoid_focal_loss(monkeypatch):
    """A compiled mmcv has no such operator for the CPU."""
    monkeypatch.setattr(sys.modules['mmcv.ops.focal_loss'], 'ext_module', torchvision_operators)
    logits = torch.randn(6, 3, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 3, 3, 1])
    found = mmcv.ops.sigmoid_focal_loss(logits, labels, 2.0, 0.25, None, 'none')
    right = F.one_hot(labels, 4)[:, :3].bool()
    p = logits.sigmoid()
    expected = torch.where(right, -0.25 * (1 - p) ** 2 * p.log(), -0.75 * p**2 * (1 - p).log())
    torch.testing.assert_close(found, expected)
    total = mmcv.ops.sigmoid_focal_loss(logits, labels, 2.0, 0.25, None, 'sum')
    assert_same(total, expected.sum(), logits)


def test_other_operators_say_what_they_need(monkeypatch):
    monkeypatch.setattr(sys.modules['mmcv.ops.carafe'], 'ext_module', torchvision_operators)
    with pytest.raises(NotImplementedError, match=r'^carafe_forward .*make env OPERATORS=1'):
        mmcv.ops.carafe(torch.rand(1, 4, 4, 4), torch.rand(1, 9, 8, 8), 3, 1, 2)
    monkeypatch.setattr(sys.modules['mmcv.ops.roi_align'], 'ext_module', torchvision_operators)
    with pytest.raises(NotImplementedError, match='^roi_align with pool_mode="max" .*OPERATORS=1'):
        mmcv.ops.roi_align(torch.rand(1, 2, 4, 4), torch.zeros(1, 5), 2, 1.0, 0, 'max')
