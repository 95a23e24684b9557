import math

import pytest
import torch
import torch.nn.functional as F
from mmdet.models.backbones import ResNet
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from semidff.models.temporal import FlowNetInception, FlowNetS, TemporalModule
from semidff.models.temporal.flow_networks import FlowNetwork
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
    """ResNet of stride 16, stepping on 1x1 layers as the papers' weights, and the reduction to 1024 channels."""

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
                assert features / cost[name] == pytest.approx(value, rel=0.03), (depth, name)
    # the two that leave nothing open settle how the table counts
    assert cost['full'] / cost['half'] == pytest.approx(33.56 / 9.20, rel=0.003)


@pytest.mark.parametrize('size', [(64, 96), (70, 111), (127, 33)])
def test_output_has_the_size_of_the_features(size):
    network = FlowNetInception()
    frame = network.prepare(torch.randn(2, 3, *size))
    with torch.no_grad():
        output = network(frame, frame)
    cells = tuple(math.ceil(side / 16) for side in size)
    assert output.flow.shape == (2, 2, *cells)
    assert output.hidden.shape == (2, 64 + 8 + 2, *cells)
    assert [flow.shape[1] for flow in output.coarse_flows] == [2] * 4


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


def test_refinement_is_flownets():
    """Same layers, other channels."""
    ours, reference = FlowNetInception(), FlowNetS(width=1 / 32)

    def layers(network):
        return [name for name, _ in network.named_parameters() if not name.startswith('conv')]

    assert layers(ours) == layers(reference) and len(layers(ours)) == 26


def test_batched_equals_single_and_gradients_reach_every_layer():
    network = FlowNetInception()
    key, current = torch.randn(2, 2, 3, 32, 64)
    output = network(current, key)
    single = torch.cat([network(c[None], k[None]).flow for c, k in zip(current, key, strict=True)])
    assert torch.allclose(output.flow, single, atol=1e-5)
    sum(flow.square().sum() for flow in (output.flow, *output.coarse_flows)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


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
    assert output.shape == (1, module.out_channels, 4, 5) and module.out_channels == 17
    assert torch.allclose(output, torch.cat(expected, 1), atol=1e-6)


def test_inception_without_single_branch_keeps_the_size():
    module = Inception(3, 0, (4, 5), (2, 3, 4))
    assert module(torch.randn(1, 3, 7, 10)).shape == (1, 9, 7, 10)


def test_base_class_needs_an_encoder():
    with pytest.raises(TypeError, match='encode'):
        FlowNetwork()
