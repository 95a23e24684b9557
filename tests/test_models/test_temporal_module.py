import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from torch import nn

from semidff.inference import MethodError
from semidff.models.temporal import warp
from semidff.models.temporal.warp import align
from tests.tiny.models import frames as images
from tests.tiny.models import samples, temporal, video_config
from tests.tiny.stages import stages


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmdet')


def build(*args, **kwargs):
    torch.manual_seed(0)
    return MODELS.build(temporal(*args, **kwargs))


def frames(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [module.prepare(torch.randn(2, 3, 64, 96, generator=generator)) for _ in 'kc']


def test_weights_start_at_the_given_deviation():
    module = build(8, init_std=0.05)
    module.init_weights()
    _, scale, _ = module.fields(*frames(module))
    assert torch.equal(scale, torch.ones(2, 8, 4, 6))
    flow = module.flow_network
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
    """A flow of one cell of stride 16 moves a level of stride 8 by two cells."""
    module = build(3, (4, 8, 16))
    levels = [torch.randn(1, 3, 16, 24), torch.randn(1, 3, 8, 12), torch.randn(1, 3, 4, 6)]
    flow = torch.zeros(1, 2, 4, 6)
    flow[:, 0] = 1
    moved = module.propagate(levels, flow, None)
    for level, result, cells in zip(levels, moved, (4, 2, 1), strict=True):
        assert torch.equal(result[..., :-cells], level[..., cells:])
        assert not result[..., -cells:].any()


def test_levels_of_as_many_channels_share_a_scale_field():
    """Two kinds of maps at the same cells: each has its place in the convolution's outputs."""
    module = build((3, 3, 2), (8, 16, 16))
    assert module.scale.out_channels == 5
    assert build((3, 3), (8, 16)).scale.out_channels == build(3).scale.out_channels == 3
    scale = torch.arange(1.0, 6).view(1, 5, 1, 1).expand(1, 5, 4, 6)
    levels = [torch.ones(1, 3, 8, 12), torch.ones(1, 3, 4, 6), torch.ones(1, 2, 4, 6)]
    scaled = module.propagate(levels, torch.zeros(1, 2, 4, 6), scale)
    for level, expected in zip(scaled, ([1, 2, 3], [1, 2, 3], [4, 5]), strict=True):
        assert (level == torch.tensor(expected).view(1, -1, 1, 1)).all()
    flow, scale = torch.randn(1, 2, 4, 6), torch.randn(1, 5, 4, 6)
    parts = scale[:, :3], scale[:, :3], scale[:, 3:]
    propagated = module.propagate(levels, flow, scale)
    for level, result, stride, part in zip(levels, propagated, (8, 16, 16), parts, strict=True):
        size = level.shape[-2:]
        expected = warp(level, align(flow, 16, stride, size) * (16 / stride))
        assert torch.equal(result, expected * align(part, 16, stride, size))


def test_all_parameters_learn():
    module = build(8)
    # The flow does not depend on its features while these are zero, the scale field's weights are.
    nn.init.normal_(module.scale.weight, std=0.1)
    module(*frames(module), (torch.randn(2, 8, 4, 6),))[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in module.parameters())


# --- the residual module --------------------------------------------------------------------------


@pytest.fixture
def residual_detector():
    torch.manual_seed(0)
    cfg = video_config()
    cfg['temporal'] = dict(cfg['temporal'], type='ResidualModule')
    return MODELS.build(ConfigDict(cfg))


def test_starts_as_a_copy_on_levels_of_all_strides():
    temporal = dict(type='ResidualModule', feat_channels=[8, 16, 8], feat_strides=[8, 16, 32])
    module = MODELS.build(dict(temporal, flow_network=dict(type='FlowNetS', width=1 / 16)))
    maps = [torch.randn(2, c, 8 // s, 12 // s) for c, s in ((8, 1), (16, 2), (8, 4))]
    key, current = (module.prepare(torch.randn(2, 3, 64, 96)) for _ in 'kc')
    for copied, level in zip(module(key, current, maps), maps, strict=True):
        assert torch.equal(copied, level)
    # the bias of a level's channels is added to all of its cells, and to no other level
    torch.nn.init.constant_(module.residual.bias[8:24].data, 3.0)
    for i, (moved, level) in enumerate(zip(module(key, current, maps), maps, strict=True)):
        torch.testing.assert_close(moved, level + 3.0 * (i == 1))


def test_regression_trains_all_of_it_and_nothing_else(residual_detector):
    model = residual_detector
    model.set_objectives([dict(type='FeatureRegression')], ['temporal'])
    model.eval()
    with torch.no_grad():  # untrained: the key frame's detections
        expected, key = model.predict_key(images(1), samples(1))
        (found,) = model.predict_non_key(images(1, seed=1), samples(1), key)
    torch.testing.assert_close(found.pred_instances.bboxes, expected[0].pred_instances.bboxes)
    before = {key: value.clone() for key, value in model.train().state_dict().items()}
    optimizer = torch.optim.Adam(model.temporal.parameters(), lr=3e-3)
    pairs, losses = torch.stack((images(2), images(2, seed=1)), 1), []
    for _ in range(15):
        (loss,) = model(pairs, samples(2), mode='loss').values()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # the first loss is that of copied features
    assert losses[-1] < 0.8 * losses[0]
    after = model.state_dict()
    for key, value in before.items():
        assert torch.equal(value, after[key]) != key.startswith('temporal.'), key


def test_what_needs_a_flow_is_refused(residual_detector):
    model = residual_detector
    with pytest.raises(MethodError, match='ResidualModule has no feature flow to keep'):
        stages(model, keep_fields=True)
