import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from semidff.converters.mxnet.names import targets
from semidff.models.temporal import FlowNetS


@pytest.mark.parametrize('size', [(64, 96), (65, 97), (70, 111), (127, 33), (600, 999)])
def test_output_has_the_size_of_the_features(size):
    network = FlowNetS(width=1 / 32)
    frame = network.prepare(torch.randn(2, 3, *size))
    assert frame.shape == (2, 3, math.ceil(size[0] / 2), math.ceil(size[1] / 2))
    with torch.no_grad():
        output = network(frame, frame)
    cells = tuple(math.ceil(side / 16) for side in size)
    assert output.flow.shape == (2, 2, *cells)
    assert output.hidden.shape == (2, network.hidden_channels, *cells)
    assert [flow.shape[1] for flow in output.coarse_flows] == [2] * 4


@pytest.mark.parametrize('stride', [16, 32])
def test_a_smaller_input_is_that_of_smaller_frames(stride):
    """At a quarter of the size: the flow that the network finds in frames of half the size, in cells."""
    torch.manual_seed(0)
    network = FlowNetS(width=1 / 16, stride=stride, downsampling=4)
    half = FlowNetS(width=1 / 16, stride=stride // 2)
    half.load_state_dict(network.state_dict())
    key, current = torch.randn(2, 1, 3, 96, 160)
    with torch.no_grad():
        output = network(network.prepare(current), network.prepare(key))
        small = [half.prepare(F.avg_pool2d(frame, 2)) for frame in (current, key)]
        expected = half(*small)
    assert torch.allclose(output.flow, expected.flow, atol=1e-5)
    assert output.flow.shape[-2:] == (96 // stride, 160 // stride)
    # The same cells are twice as many pixels, and so is the unit of the coarse flows.
    assert network.unit == 2 * half.unit
    with pytest.raises(ValueError, match='with downsampling=4, stride must be 16 or 32, got 8'):
        FlowNetS(stride=8, downsampling=4)


def test_full_width_is_flownet_s():
    with torch.device('meta'):
        network = FlowNetS()
    assert network.hidden_channels == 194
    original = [t for t in targets(('temporal',)).values() if '.flow_network.' in t.key]
    shapes = {t.key.removeprefix('temporal.flow_network.'): t.shape for t in original}
    assert {name: tuple(p.shape) for name, p in network.named_parameters()} == shapes
    assert len(shapes) == 46


def test_width_scales_the_channels():
    network = FlowNetS(width=0.5)
    assert network.conv6.out_channels == 512
    assert network.predict_flow.in_channels == network.hidden_channels == 64 + 32 + 2


def test_input_is_halved_and_scaled():
    frame = torch.arange(12.0).reshape(1, 1, 3, 4).expand(1, 3, 3, 4)
    prepared = FlowNetS(width=1 / 32, input_scale=0.1).prepare(frame)
    # A window over the border is divided by its own number of pixels.
    expected = torch.tensor([[2.5, 4.5], [8.5, 10.5]]) / 10
    assert torch.allclose(prepared[0, 0], expected)


def test_order_of_the_frames_matters():
    network = FlowNetS(width=1 / 16)
    key, current = torch.randn(2, 1, 3, 32, 48)
    assert not torch.allclose(network(current, key).flow, network(key, current).flow)


def test_flow_is_the_last_prediction_in_cells():
    network = FlowNetS(width=1 / 16)
    key, current = torch.randn(2, 1, 3, 32, 48)
    output = network(current, key)
    assert torch.equal(output.flow, 2.5 * network.predict_flow(output.hidden))


def test_a_flow_of_stride_8_has_the_same_unit():
    """Pooled to stride 16, its features are those of stride 16; a prediction is as many pixels at both."""
    coarse, fine = FlowNetS(width=1 / 16), FlowNetS(width=1 / 16, stride=8)
    fine.load_state_dict(coarse.state_dict())
    key, current = torch.randn(2, 1, 3, 36, 52)
    with torch.no_grad():
        first, second = coarse(current, key), fine(current, key)
        assert second.flow.shape[-2:] == (9, 13)
        torch.testing.assert_close(F.avg_pool2d(second.hidden, 2, ceil_mode=True), first.hidden)
        pixels = 8 * fine.flow_scale * coarse.predict_flow(first.hidden)
        assert torch.allclose(first.flow * 16, pixels)
    with pytest.raises(ValueError, match='with downsampling=2, stride must be 8 or 16, got 4'):
        FlowNetS(stride=4)


def test_batched_equals_single():
    network = FlowNetS(width=1 / 16).eval()
    key, current = torch.randn(2, 3, 3, 32, 48)
    with torch.no_grad():
        batch = network(current, key).flow
        single = torch.cat(
            [network(c[None], k[None]).flow for c, k in zip(current, key, strict=True)]
        )
    assert torch.allclose(batch, single, atol=1e-6)


def test_crop_equals_the_originals():
    """Rows 1 .. size of the unpadded deconvolution, for an odd size too."""
    layer = nn.ConvTranspose2d(3, 2, 4, 2, padding=1)
    x = torch.randn(1, 3, 5, 6)
    unpadded = F.conv_transpose2d(x, layer.weight, layer.bias, stride=2)
    assert torch.allclose(layer(x)[..., :9, :11], unpadded[..., 1:10, 1:12], atol=1e-6)
