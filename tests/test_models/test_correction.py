import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch import nn

from semidff.models.losses import typical_size
from semidff.models.temporal.correction import Correction
from semidff.models.temporal.temporal_module import TemporalModule
from tests.tiny.models import temporal

LEVELS = (6, 6, 3)
STRIDES = (8, 16, 32)
FLOW = dict(type='FlowNetS', width=1 / 16, stride=8, input_scale=1.0)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmdet')


def build(correction_width=4, **kwargs) -> TemporalModule:
    torch.manual_seed(0)
    settings = dict(flow_network=FLOW, correction_width=correction_width)
    return MODELS.build(temporal(LEVELS, STRIDES, **{**settings, **kwargs}))


def maps(seed=0, count=2) -> list[torch.Tensor]:
    torch.manual_seed(seed)
    sizes = [(8, 12), (4, 6), (2, 3)]
    return [torch.randn(count, c, *size) for c, size in zip(LEVELS, sizes, strict=True)]


def frames(module, seed=0) -> list[torch.Tensor]:
    torch.manual_seed(seed)
    return [module.prepare(torch.randn(2, 3, 64, 96)) for _ in range(2)]


def disturb(module: TemporalModule) -> None:
    for block in module.correction.blocks.values():
        nn.init.normal_(block[-1].weight)


def trained(factor: torch.Tensor, batches: int) -> Correction:
    """A correction that has seen batches of the finest level, maps times ``factor`` (C, 1, 1)."""
    correction = Correction(5, LEVELS, 4).train()
    torch.manual_seed(0)
    for _ in range(batches):
        correction(factor * torch.randn(4, 6, 8, 12), torch.zeros(4, 4, 8, 12), 0)
    return correction


@pytest.mark.parametrize('current_width', [0, 8])
def test_the_untrained_correction_changes_nothing(current_width):
    corrected, plain = build(current_width=current_width), build(correction_width=0)
    plain.load_state_dict(corrected.state_dict(), strict=False)
    pair = frames(corrected)
    for mode in (True, False):
        results = [module.train(mode)(*pair, maps()) for module in (corrected, plain)]
        for own, other in zip(*results, strict=True):
            assert torch.equal(own, other)


def test_the_correction_follows_warp_and_scale():
    """A reference with plain modules; the scale field differs from one."""
    module = build().eval()
    disturb(module)
    nn.init.normal_(module.scale.weight, std=0.1)
    pair = frames(module)
    flow, scale, context = module.fields(*pair)
    plain = build(correction_width=0)
    warped = plain.propagate(maps(), flow, scale)
    found = module.propagate(maps(), flow, scale, context)
    first, second, last = module.correction.blocks['6']
    inner = second((first(warped[0]) + context).relu()).relu()
    assert torch.allclose(found[0], warped[0] + last(inner), atol=1e-5)
    assert not torch.allclose(found[0], warped[0], atol=0.1)


def test_the_correction_adds_where_the_key_frame_has_nothing():
    """What a scale field cannot do; the reason is the pair of frames."""
    module = build().eval()
    disturb(module)
    empty = [torch.zeros_like(level) for level in maps()]
    first, other = (module(*frames(module, seed), empty)[0] for seed in (0, 1))
    assert first.abs().mean() > 0.01 and not torch.allclose(first, other)


@pytest.mark.parametrize('stride', [8, 16])
@pytest.mark.parametrize('size', [(64, 96), (70, 91)])
def test_the_network_on_the_current_frame_adds_to_the_context(stride, size):
    """Of the key frame it knows nothing; its cells are those of the flow network."""
    module = build(current_width=8, flow_network=dict(FLOW, stride=stride)).eval()
    key, other, current = (module.prepare(torch.randn(1, 3, *size)) for _ in range(3))
    hidden = [module.flow_network(current, image).hidden for image in (key, other)]
    added = [
        module.fields(image, current)[2] - module.correction.context(own)
        for image, own in zip((key, other), hidden, strict=True)
    ]
    assert added[0].shape == (1, 4, -(-size[0] // stride), -(-size[1] // stride))
    assert torch.allclose(*added, atol=1e-5) and added[0].std() > 0.1


def test_classes_are_treated_alike():
    """Two anchors of two classes behind the first channel: their order does not matter."""
    places = [(1, 2, 2), None, None]
    module = build(shared_classes=True, class_maps=places).eval()
    disturb(module)
    pair, order = frames(module), [0, 2, 1, 4, 3, 5]
    own = module(*pair, maps())
    swapped = module(*pair, [level[:, order] if level.shape[1] == 6 else level for level in maps()])
    assert torch.allclose(own[0][:, order], swapped[0], atol=1e-5)
    assert not torch.allclose(own[1][:, order], swapped[1], atol=0.1)  # a level without classes
    warped = build(correction_width=0).propagate(maps(), *module.fields(*pair)[:2])
    added = own[0] - warped[0]
    assert torch.allclose(added[:, [1, 3]], added[:, [2, 4]], atol=1e-5)
    # The block reads the highest score of an anchor alone.
    level, context = maps()[0], module.fields(*pair)[2][..., :8, :12]
    level[:, 1:5:2] = level[:, 2:5:2] - 1
    changes = []
    for _ in range(2):
        changes.append(module.correction(level, context, 0) - level)
        level[:, 1:5:2] -= 5
    assert torch.allclose(*changes, atol=1e-5) and changes[0].abs().mean() > 0.1


def test_nothing_changes_where_the_frames_are_equal():
    module = build(gated=True, current_width=8).eval()
    disturb(module)
    nn.init.normal_(module.scale.weight, std=0.1)
    torch.manual_seed(0)
    key = torch.randn(2, 3, 64, 128)
    current = key.clone()
    sizes = [(8, 16), (4, 8), (2, 4)]
    own = [torch.randn(2, c, *size) for c, size in zip(LEVELS, sizes, strict=True)]
    for level, same in zip(own, module(*map(module.prepare, (key, current)), own), strict=True):
        assert torch.equal(level, same)
    current[..., :32] = torch.randn(2, 3, 64, 32)
    changed = module(*map(module.prepare, (key, current)), own)[0] != own[0]
    assert changed[..., :4].float().mean() > 0.9 and not changed[..., 9:].any()
    current = key + 0.5 / 255  # noise of a camera
    for level, same in zip(own, module(*map(module.prepare, (key, current)), own), strict=True):
        assert torch.allclose(level, same, atol=0.02)


def test_the_threshold_of_the_gate_is_learned():
    module = build(gated=True).train()
    disturb(module)
    module(*frames(module), maps())[0].square().sum().backward()
    assert module.gate.log_threshold.grad.abs() > 0


def test_a_bounded_scale_field():
    module, free = build(0, scale_bound=0.4), build(0)
    pair = frames(module)
    assert torch.equal(module.fields(*pair)[1], free.fields(*pair)[1])  # one
    for one in (module, free):
        nn.init.normal_(one.scale.weight, std=10.0)
    low, high = module.fields(*pair)[1].aminmax()
    assert 0.6 <= low < 0.7 and 1.3 < high <= 1.4
    free.load_state_dict(module.state_dict())
    assert free.fields(*pair)[1].min() < 0


def test_levels_of_other_units_learn_alike():
    """Boxes in pixels beside logits: their unit follows from the first training batches."""
    factor = torch.tensor([1.0, 1000.0, 1.0, 1.0, 1.0, 0.01])[:, None, None]
    context = torch.zeros(4, 4, 8, 12)
    correction = trained(factor, 110)
    assert torch.allclose(correction.unit0, factor.flatten(), rtol=0.05)
    assert torch.equal(correction.unit1, torch.ones(6))  # a level of its own
    kept = correction.unit0.clone()
    correction(100 * factor * torch.randn(4, 6, 8, 12), context, 0)
    assert torch.equal(correction.unit0, kept)
    fresh = Correction(5, LEVELS, 4).eval()
    fresh(50 * maps()[0], torch.zeros(2, 4, 8, 12), 0)
    assert torch.equal(fresh.unit0, torch.ones(6)) and not fresh.batches.any()
    nn.init.constant_(correction.blocks['6'][-1].bias, 1.0)
    added = correction.eval()(torch.zeros(1, 6, 8, 12), context[:1], 0)
    assert torch.allclose(added[0, :, 0, 0], correction.unit0)


def test_a_channel_that_was_always_zero_has_the_unit_of_the_others():
    """After a ReLU; it may have values later."""
    correction = trained(torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0, 1.0])[:, None, None], 100)
    assert correction.unit0[2] == pytest.approx(1.0, rel=0.05)


def test_the_unit_of_a_constant_is_a_tenth_of_it():
    assert typical_size(torch.full((2, 1, 3, 3), -5.0), (0, 2, 3)).item() == pytest.approx(0.5)
    assert typical_size(torch.zeros(2, 1, 3, 3), (0, 2, 3)).item() > 0


def test_pairs_of_one_iteration_may_be_propagated_one_after_the_other():
    """As those of triplets; each changes the units."""
    module = build(current_width=8).train()
    disturb(module)
    results = [module(*frames(module, seed), maps(seed)) for seed in (0, 1)]
    sum(level.square().sum() for result in results for level in result).backward()
    assert all(weight.grad.any() for weight in module.correction.parameters())
    assert module.correction.batches.tolist() == [2, 2, 2]
    assert 'correction.unit0' in module.state_dict()


def test_half_precision_keeps_the_maps_precise():
    module = build().eval()
    disturb(module)
    pair = frames(module)
    pixels = [1000 + level for level in maps()]
    fields = module.fields(*pair)
    full = module.propagate(pixels, *fields)
    with torch.autocast('cpu', torch.bfloat16):
        half = module.propagate(pixels, *fields)
    plain = build(correction_width=0)
    for own, rounded, warped in zip(full, half, plain.propagate(pixels, *fields[:2]), strict=True):
        change = (own - warped).abs().max()
        assert rounded.dtype == torch.float32
        # The correction is rounded, the pixels are not: bfloat16 has steps of 4 at 1000.
        assert (own - rounded).abs().max() < 0.05 * change


def test_channels_last_maps_are_corrected_alike():
    module = build().eval()
    disturb(module)
    pair = frames(module)
    last = [level.to(memory_format=torch.channels_last) for level in maps()]
    other = copy.deepcopy(module).to(memory_format=torch.channels_last)
    for a, b in zip(module(*pair, maps()), other(*pair, last), strict=True):
        assert torch.allclose(a, b, atol=1e-4)
