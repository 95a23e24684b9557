"""Layers whose conventions differ between the frameworks."""

import torch
import torch.nn.functional as F
from mmdet.models.losses import SmoothL1Loss

from semidff.models.temporal import FlowNetS
from tests.test_golden.original import arrays, relative


def golden(name: str) -> torch.Tensor:
    return torch.from_numpy(arrays('ops_golden.npz')[name])


def test_average_pooling():
    pooled = FlowNetS(width=1 / 64, input_scale=1.0).prepare(golden('avgpool_in'))
    assert relative(pooled, golden('avgpool_out')) < 1e-6


def test_deconvolution_and_crop():
    """The flow network's layer with the golden's weights, and the crop to the skip connection."""
    layer = FlowNetS(width=1 / 64).deconv0
    layer.weight.data, layer.bias.data = golden('deconv_w'), golden('deconv_b')
    out = layer(golden('deconv_in')).detach()
    assert relative(out, golden('deconv_out')[..., 1:-1, 1:-1]) < 1e-5
    assert relative(out[..., :9, :12], golden('deconv_crop_9x12')) < 1e-5
    uncropped = F.conv_transpose2d(golden('deconv_in'), layer.weight, layer.bias, layer.stride)
    assert relative(uncropped.detach(), golden('deconv_out')) < 1e-5


def test_smooth_l1():
    for scalar in (1, 3):
        loss = SmoothL1Loss(beta=1 / scalar**2, reduction='none')
        values = loss(golden('smoothl1_in'), torch.zeros(61))
        assert relative(values, golden(f'smoothl1_scalar{scalar}')) < 1e-6
