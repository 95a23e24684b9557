import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch import nn

from semidff.models.temporal import warp
from semidff.models.temporal.warp import align
from tests.models import temporal


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmdet')


def build(*args, **kwargs):
    torch.manual_seed(0)
    return MODELS.build(temporal(*args, **kwargs))


def frames(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [module.prepare(torch.randn(2, 3, 64, 96, generator=generator)) for _ in 'kc']


def test_scale_starts_at_exactly_one():
    module = build(8)
    module.init_weights()
    _, scale, _ = module.fields(*frames(module))
    assert torch.equal(scale, torch.ones(2, 8, 4, 6))


def test_weights_start_at_the_given_deviation():
    flow = build(8, init_std=0.05).flow_network
    for module in flow.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            assert not module.bias.any()
            if module.weight.numel() > 2000:
                assert abs(module.weight.std().item() / 0.05 - 1) < 0.1


def test_hes_start_keeps_the_size_of_the_signal():
    """From layer to layer, where N(0, 0.02) lets it vanish in a narrow network."""
    deepest = {}
    for std in (None, 0.02):
        module = build(8, init_std=std)
        layers = []
        module.flow_network.conv6_1.register_forward_hook(
            lambda m, i, o, kept=layers: kept.append(o)
        )
        module.fields(*frames(module))
        deepest[std] = layers[0].std().item()
    assert deepest[None] > 100 * deepest[0.02] > 0


def test_propagated_features_are_warped_times_scale():
    module = build(8)
    nn.init.normal_(module.scale.weight)
    key, current = frames(module)
    features = torch.randn(2, 8, 4, 6)
    flow, scale, _ = module.fields(key, current)
    propagated = module(key, current, (features,))
    assert len(propagated) == 1
    assert torch.equal(propagated[0], warp(features, flow) * scale)
    assert not torch.allclose(scale, torch.ones(())) and (propagated[0] < 0).any()


def test_without_a_scale_field():
    module = build(8, with_scale=False)
    assert module.scale is None
    flow, scale, _ = module.fields(*frames(module))
    assert scale is None
    features = torch.randn(2, 8, 4, 6)
    assert torch.equal(module.propagate((features,), torch.zeros_like(flow), None)[0], features)


def test_every_level_moves_by_the_same_pixels():
    """A flow of one cell of stride 16 moves a level of stride 8 by two cells, one of stride 4 by four."""
    module = build(3, (4, 8, 16))
    levels = [torch.randn(1, 3, 16, 24), torch.randn(1, 3, 8, 12), torch.randn(1, 3, 4, 6)]
    flow = torch.zeros(1, 2, 4, 6)
    flow[:, 0] = 1
    moved = module.propagate(levels, flow, None)
    for level, result, cells in zip(levels, moved, (4, 2, 1), strict=True):
        assert torch.equal(result[..., :-cells], level[..., cells:])
        assert not result[..., -cells:].any()


def test_scale_is_resized_to_each_level():
    module = build(3, (8, 16))
    levels = [torch.ones(1, 3, 8, 12), torch.ones(1, 3, 4, 6)]
    scale = torch.full((1, 3, 4, 6), 0.5)
    for level in module.propagate(levels, torch.zeros(1, 2, 4, 6), scale):
        assert (level == 0.5).all()


def test_levels_of_as_many_channels_share_a_scale_field():
    """Two kinds of maps at the same cells: the field of each has its place in the convolution's outputs."""
    module = build((3, 3, 2), (8, 16, 16))
    assert module.scale.out_channels == 5
    assert build((3, 3), (8, 16)).scale.out_channels == build(3).scale.out_channels == 3
    scale = torch.arange(1.0, 6).view(1, 5, 1, 1).expand(1, 5, 4, 6)
    levels = [torch.ones(1, 3, 8, 12), torch.ones(1, 3, 4, 6), torch.ones(1, 2, 4, 6)]
    scaled = module.propagate(levels, torch.zeros(1, 2, 4, 6), scale)
    for level, expected in zip(scaled, ([1, 2, 3], [1, 2, 3], [4, 5]), strict=True):
        assert (level == torch.tensor(expected).view(1, -1, 1, 1)).all()


def test_levels_at_the_same_cells_share_the_aligned_flow(monkeypatch):
    from semidff.models.temporal import temporal_module

    calls = []
    monkeypatch.setattr(
        temporal_module, 'align', lambda field, *place: calls.append(place) or align(field, *place)
    )
    module = build((3, 3, 2, 2), (8, 16, 8, 16))
    levels = [torch.randn(1, c, h, 2 * h) for c, h in ((3, 8), (3, 4), (2, 8), (2, 4))]
    flow, scale = torch.randn(1, 2, 4, 8), torch.randn(1, 5, 4, 8)
    propagated = module.propagate(levels, flow, scale)
    assert len(calls) == 2 + 4  # flow by stride; scale by stride and number of channels
    for level, result, stride, part in zip(
        levels, propagated, (8, 16, 8, 16), (scale[:, :3],) * 2 + (scale[:, 3:],) * 2, strict=True
    ):
        size = level.shape[-2:]
        expected = warp(level, align(flow, 16, stride, size) * (16 / stride))
        assert torch.equal(result, expected * align(part, 16, stride, size))


def test_all_parameters_learn():
    module = build(8)
    # The flow does not depend on its features while these are zero, the scale field's weights are.
    nn.init.normal_(module.scale.weight, std=0.1)
    module(*frames(module), (torch.randn(2, 8, 4, 6),))[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in module.parameters())
