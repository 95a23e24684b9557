"""FlowNetS, FlowNet Half and FlowNet Inception."""

import math

import pytest
import torch
import torch.nn.functional as F
from mmdet.models.backbones import ResNet
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from semidff.converters.mxnet.names import targets
from semidff.models.temporal import FlowNetInception, FlowNetS, TemporalModule
from semidff.models.temporal.flownet_inception import Inception

# DFF Table 2: FLOPs of the feature network / FLOPs of the flow network
TABLE_2 = {
    50: dict(full=9.20, half=33.56, inception=68.97),
    101: dict(full=12.71, half=46.30, inception=95.24),
}
FLOW_NETWORKS = dict(
    full=dict(type='FlowNetS'),
    half=dict(type='FlowNetS', width=0.5),
    inception=dict(type='FlowNetInception'),
)


def operations(function, *inputs: torch.Tensor) -> int:
    """Multiply-adds."""
    with FlopCounterMode(display=False) as counter:
        function(*inputs)
    return counter.get_total_flops() // 2


def feature_network(depth: int) -> nn.Module:
    """ResNet of stride 16, stepping on 1x1 layers, and the reduction to 1024 channels."""

    class Features(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = ResNet(
                depth,
                strides=(1, 2, 2, 1),
                dilations=(1, 1, 1, 2),
                out_indices=(3,),
                style='caffe',
            )
            self.reduction = nn.Conv2d(2048, 1024, 3, padding=6, dilation=6)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.reduction(self.backbone(image)[0])

    return Features()


def test_complexity_is_that_of_table_2():
    with torch.device('meta'):
        image = torch.empty(1, 3, 600, 1000)
        temporal = {name: TemporalModule(cfg) for name, cfg in FLOW_NETWORKS.items()}
        cost = {
            name: operations(module.fields, *[module.prepare(image)] * 2)
            for name, module in temporal.items()
        }
        for depth, row in TABLE_2.items():
            features = operations(feature_network(depth), image)
            for name, value in row.items():
                tolerance = 0.03 if name == 'inception' else 0.003  # which leaves details open
                assert features / cost[name] == pytest.approx(value, rel=tolerance), (depth, name)


def test_skip_connections_are_at_strides_32_16_8_and_4():
    network = FlowNetInception()
    with torch.no_grad():
        top, skips = network.encode(torch.randn(1, 6, 64, 128))
    assert top.shape == (1, 512, 1, 2)
    assert [skip.shape[1:] for skip in skips] == [
        (384, 2, 4),
        (256, 4, 8),
        (128, 8, 16),
        (64, 16, 32),
    ]


def test_reduction_by_hand():
    """Each branch from plain operations; a map of odd size is halved and rounded up."""
    module = Inception(3, 2, (4, 5), (2, 3, 4), pool=6)
    x = torch.randn(1, 3, 7, 10)

    def layer(convolution, y, stride=1):
        padding = convolution.kernel_size[0] // 2
        y = F.conv2d(y, convolution.weight, convolution.bias, stride, padding)
        return torch.where(y > 0, y, 0.1 * y)

    expected = [
        layer(module.branch1[0], x, 2),
        layer(module.branch2[1], layer(module.branch2[0], x), 2),
        layer(module.branch3[2], layer(module.branch3[1], layer(module.branch3[0], x)), 2),
        layer(module.branch_pool[0], F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=-math.inf), 3, 2)),
    ]
    output = module(x)
    assert output.shape == (1, 17, 4, 5)
    assert torch.allclose(output, torch.cat(expected, 1), atol=1e-6)
    module = Inception(3, 0, (4, 5), (2, 3, 4))
    assert module(torch.randn(1, 3, 7, 10)).shape == (1, 9, 7, 10)


@pytest.mark.parametrize('size', [(64, 96), (127, 33)])
@pytest.mark.parametrize('network', [FlowNetS(width=1 / 32), FlowNetInception()])
def test_output_has_the_size_of_the_features(network, size):
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
    """At a quarter of the size: the flow in frames of half the size, in cells."""
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


def test_input_is_halved_and_scaled():
    frame = torch.arange(12.0).reshape(1, 1, 3, 4).expand(1, 3, 3, 4)
    prepared = FlowNetS(width=1 / 32, input_scale=0.1).prepare(frame)
    # A window over the border is divided by its own number of pixels.
    expected = torch.tensor([[2.5, 4.5], [8.5, 10.5]]) / 10
    assert torch.allclose(prepared[0, 0], expected)


def test_flow_is_the_last_prediction_in_cells():
    network = FlowNetS(width=1 / 16)
    key, current = torch.randn(2, 1, 3, 32, 48)
    output = network(current, key)
    assert torch.equal(output.flow, 2.5 * network.predict_flow(output.hidden))
    assert not torch.allclose(output.flow, network(key, current).flow)


def test_a_flow_of_stride_8_has_the_same_unit():
    """Pooled to stride 16, its features are those of stride 16, as are pixels of its flow."""
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


@pytest.mark.parametrize('network', [FlowNetS(width=1 / 16), FlowNetInception()])
def test_batched_equals_single_and_gradients_reach_every_layer(network):
    key, current = torch.randn(2, 2, 3, 32, 64)
    output = network(current, key)
    single = torch.cat([network(c[None], k[None]).flow for c, k in zip(current, key, strict=True)])
    assert torch.allclose(output.flow, single, atol=1e-5)
    sum(flow.square().sum() for flow in (output.flow, *output.coarse_flows)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
