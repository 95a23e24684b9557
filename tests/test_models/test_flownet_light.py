import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from semidff.models.temporal import FlowNetLight, FlowNetS, TemporalModule
from semidff.models.temporal.align import align
from semidff.models.temporal.warp import warp


def network(**kwargs) -> FlowNetLight:
    torch.manual_seed(0)
    built = FlowNetLight(input_scale=1.0, **kwargs)
    built.reset_parameters(None)
    nn.init.normal_(built.predict_flow.weight, std=0.1)
    return built.eval()


@pytest.mark.parametrize('size', [(64, 96), (65, 97), (70, 111), (600, 999)])
@pytest.mark.parametrize('stride,downsampling', [(16, 4), (32, 4), (16, 2), (8, 4)])
def test_output_has_the_size_of_the_features(size, stride, downsampling):
    flow = network(stride=stride, downsampling=downsampling, width=1 / 4)
    frame = flow.prepare(torch.randn(2, 3, *size))
    assert frame.shape == (2, 3, *(math.ceil(side / downsampling) for side in size))
    with torch.no_grad():
        output = flow(frame, frame)
    cells = tuple(math.ceil(side / stride) for side in size)
    assert output.flow.shape == (2, 2, *cells)
    assert output.hidden.shape == (2, flow.hidden_channels, *cells)


@pytest.mark.parametrize('stride', [16, 32])
def test_every_level_moves_by_the_flow_in_pixels(stride):
    """Levels finer and coarser than the flow: a flow of 128 pixels moves each by whole cells."""
    strides = (4, 8, 16, 32, 64, 128)
    torch.manual_seed(0)
    module = TemporalModule(
        dict(type='FlowNetLight', stride=stride), feat_channels=3, feat_strides=strides
    )
    levels = [torch.randn(1, 3, 256 // s, 512 // s) for s in strides]
    flow = torch.zeros(1, 2, 256 // stride, 512 // stride)
    flow[:, 0] = 128 / stride
    moved = module.propagate(levels, flow, torch.full((1, 3, *flow.shape[-2:]), 0.5))
    for level, result, level_stride in zip(levels, moved, strides, strict=True):
        cells = 128 // level_stride
        assert torch.equal(result[..., :-cells], 0.5 * level[..., cells:])
        assert not result[..., -cells:].any()


@pytest.mark.parametrize('stride', [16, 32])
def test_levels_of_a_frame_of_any_size(stride):
    module = TemporalModule(
        dict(type='FlowNetLight', stride=stride, width=1 / 4),
        feat_channels=4,
        feat_strides=(8, 16, 32, 64),
    )
    frame = module.prepare(torch.randn(1, 3, 150, 203))
    levels = [torch.randn(1, 4, math.ceil(150 / s), math.ceil(203 / s)) for s in (8, 16, 32, 64)]
    with torch.no_grad():
        flow, scale, _ = module.fields(frame, frame)
        flow = torch.rand_like(flow)
        for level, result, s in zip(
            levels, module.propagate(levels, flow, scale), (8, 16, 32, 64), strict=True
        ):
            size = level.shape[-2:]
            assert torch.equal(result, warp(level, align(flow, stride, s, size) * (stride / s)))


@pytest.mark.parametrize('init_std', [None, 0.02])
def test_starts_without_motion_and_learns_with_any_start(init_std):
    torch.manual_seed(0)
    module = TemporalModule(dict(type='FlowNetLight', input_scale=1.0), 8, init_std=init_std)
    key, current = (module.prepare(torch.randn(1, 3, 128, 160)) for _ in range(2))
    features = torch.randn(1, 8, 8, 10)
    assert torch.equal(module(key, current, (features,))[0], features)
    assert 0.1 < module.flow_network(current, key).hidden.std() < 10
    # The flow and the scale field do not depend on their features while their weights are zero.
    nn.init.normal_(module.flow_network.predict_flow.weight, std=0.1)
    nn.init.normal_(module.scale.weight, std=0.1)
    module(key, current, (features,))[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in module.parameters())


def test_flow_is_the_last_prediction_in_cells_and_depends_on_the_order():
    flow = network(stride=32)
    key, current = torch.randn(2, 1, 3, 32, 48)
    with torch.no_grad():
        output = flow(current, key)
        assert torch.equal(output.flow, 1.25 * flow.predict_flow(output.hidden))
        assert not torch.allclose(output.flow, flow(key, current).flow)


def test_batched_equals_single_in_any_layout():
    flow = network(width=1 / 4)
    key, current = torch.randn(2, 3, 3, 32, 48)
    with torch.no_grad():
        batch = flow(current, key).flow
        single = [flow(c[None], k[None]).flow for c, k in zip(current, key, strict=True)]
        last = flow.to(memory_format=torch.channels_last)(current, key).flow
    assert torch.allclose(batch, torch.cat(single), atol=1e-5)
    assert torch.allclose(batch, last, atol=1e-5)


def test_exported_network_computes_the_same():
    flow = network(width=1 / 4)
    key, current = torch.randn(2, 1, 3, 35, 49)
    exported = torch.export.export(flow, (current, key)).module()
    with torch.no_grad():
        assert torch.allclose(exported(current, key)[0], flow(current, key).flow, atol=1e-6)


def test_is_lighter_than_the_narrowest_flownet():
    def operations(flow):
        image = torch.empty(1, 3, 600, 1000, device='meta')
        with FlopCounterMode(display=False) as counter:
            flow(flow.prepare(image), flow.prepare(image))
        return counter.get_total_flops()

    with torch.device('meta'):
        light, narrow = FlowNetLight(), FlowNetS(width=1 / 8)
        assert operations(light) < operations(narrow) / 2
        assert operations(FlowNetLight(stride=32)) < operations(light)


@pytest.mark.parametrize(
    'setting,message',
    [
        (dict(stride=128), r'downsampling=4, stride must be one of \[8, 16, 32, 64\], got 128'),
        (dict(stride=64, downsampling=2), r'must be one of \[4, 8, 16, 32\], got 64'),
        (dict(width=0), 'width must be positive, got 0'),
    ],
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        FlowNetLight(**setting)


def test_the_flow_is_predicted_in_full_precision_under_autocast():
    flow = network(width=1 / 4)
    key, current = torch.randn(2, 1, 3, 32, 48)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        output = flow(current, key)
    assert output.hidden.dtype == torch.bfloat16 and output.flow.dtype == torch.float32
