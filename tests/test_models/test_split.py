"""The same detector, cut at every point of DFF's Table 5 (in small)."""

import pytest
import torch

from semidff.inference.schedule_fit import relative_error
from semidff.models import FeatureRegression
from semidff.models.objectives import Distillation
from tests.models import frames, samples, tiny_semi_dff
from tests.splits import SPLITS, cut, same

ALL = pytest.mark.parametrize('name', SPLITS)


def layers_called(modules):
    """Counts of calls of each layer with weights in the modules."""
    counts = {}
    for module in modules:
        for layer in module.modules():
            if getattr(layer, 'weight', None) is not None and layer not in counts:
                counts[layer] = 0

                def count(called, *_):
                    counts[called] += 1

                layer.register_forward_hook(count)
    return counts


def still(model):
    """No motion, and the scale field at one."""
    for parameter in (
        *model.temporal.flow_network.predict_flow.parameters(),
        model.temporal.scale.weight,
    ):
        torch.nn.init.zeros_(parameter)
    torch.nn.init.ones_(model.temporal.scale.bias)


@ALL
@torch.no_grad()
def test_key_frames_are_the_unsplit_detectors_bit_by_bit(name):
    model = cut(name).eval()
    expected = model.spatial.detector.predict(frames(2), samples(2))
    results, key = model.predict_key(frames(2), samples(2))
    same(results, expected)
    assert [level.shape for level in key.features] == [(2, SPLITS[name][1], 4, 6)]


@ALL
@torch.no_grad()
def test_still_frames_keep_the_key_frames_detections_exactly(name):
    model = cut(name).eval()
    still(model)
    expected, key = model.predict_key(frames(2), samples(2))
    before = key.features[0].clone()
    same(model.predict_non_key(frames(2, seed=1), samples(2), key), expected)
    assert torch.equal(key.features[0], before)


@ALL
@torch.no_grad()
def test_every_layer_runs_once_and_on_current_frames_only_the_task_networks(name):
    model = cut(name).eval()
    feature = layers_called(model.part('feature_network'))
    task = layers_called(model.part('task_network'))
    _, key = model.predict_key(frames(1), samples(1))
    assert set(feature.values()) == {1} and set(task.values()) <= {1}
    model.predict_non_key(frames(1, seed=1), samples(1), key)
    assert set(feature.values()) == {1} and set(task.values()) <= {2}
    assert bool(task) == (name != '0')


@ALL
def test_parts_are_the_detector_without_rest_or_overlap(name):
    model = cut(name)
    parts = [
        {id(p) for module in model.part(part) for p in module.parameters()}
        for part in ('feature_network', 'task_network')
    ]
    assert not parts[0] & parts[1] and parts[0]
    assert parts[0] | parts[1] == {id(p) for p in model.spatial.parameters()}
    buffers = [
        b
        for part in ('feature_network', 'task_network')
        for m in model.part(part)
        for b in m.buffers()
    ]
    assert {id(b) for b in buffers} == {id(b) for b in model.spatial.buffers()}


@ALL
def test_names_in_the_state_dict_do_not_depend_on_the_split(name):
    assert cut(name).spatial.state_dict().keys() == cut('1').spatial.state_dict().keys()


def test_parts_of_the_splits():
    heads = ['neck', 'rpn_head', 'roi_head']
    expected = {
        '21': ['backbone.layer3.1', 'backbone.layer4', *heads],
        '12': ['backbone.layer4', *heads],
        '5': ['backbone.layer4.1', *heads],
        '1': heads[1:],
    }
    for name, modules in expected.items():
        assert list(cut(name).spatial.task_network) == modules


@ALL
def test_the_supervised_loss_trains_all_parts(name):
    model = cut(name).train()
    pairs = torch.stack((frames(2), frames(2, seed=1)), 1)
    model.parse_losses(model.loss(pairs, samples(2, boxes=True)))[0].backward()
    for parameter_name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, parameter_name
    learning = {
        part: [p for module in model.part(part) for p in module.parameters() if p.requires_grad]
        for part in ('feature_network', 'task_network')
    }
    for part, parameters in learning.items():
        moved = sum(bool(p.grad.any()) for p in parameters)
        assert moved >= 0.8 * len(parameters) and bool(parameters) == (
            (part, name) != ('task_network', '0')
        )


@ALL
def test_a_pair_of_one_frame_gives_the_per_frame_loss_exactly(name):
    model = cut(name)
    frame = frames(2)
    results = []
    for compute in (
        lambda: model.loss(torch.stack((frame, frame), 1), samples(2, same=True, boxes=True)),
        lambda: model.spatial.detector.loss(frame, samples(2, boxes=True)),
    ):
        torch.manual_seed(0)  # RoIs are sampled
        results.append(model.parse_losses(compute())[1])
    assert results[0] == results[1]


@ALL
def test_exactly_the_named_parts_learn(name):
    model = cut(name)
    learnable = {p for p in model.parameters() if p.requires_grad}
    model.set_trainable(['task_network'])
    task = {p for module in model.spatial.task_network.values() for p in module.parameters()}
    assert {p for p in model.parameters() if p.requires_grad} == task & learnable == task


# --- semi-DFF's second stage ----------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['12', '5', '0'])
def test_the_feature_network_stands_once(name):
    model = cut(name, tiny_semi_dff)
    state = model.state_dict()
    pointers = [value.data_ptr() for value in state.values() if value.numel()]
    assert len(set(pointers)) == len(pointers)
    for own, other in zip(
        model.spatial.feature_network, model.teacher.feature_network, strict=True
    ):
        assert own is other
    weights = sum(len(module.state_dict()) for module in model.spatial.task_network.values())
    assert sum(key.startswith('teacher_task.') for key in state) == weights
    assert (weights == 0) == (name == '0')
    assert ('teacher_task.backbone_layer4_1.conv1.weight' in state) == (name == '5')


@pytest.mark.parametrize('name', ['5', '0'])
@pytest.mark.parametrize('objective', ['FeatureRegression', 'FeatureSemantics'])
def test_steps_of_the_distillation(name, objective):
    model = cut(name, tiny_semi_dff).train()
    model.enter_step([dict(type=objective)], ('temporal', 'task_network'))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=1e-2)
    pairs = torch.stack((frames(2), frames(2, seed=1)), 1)
    values = []
    for _ in range(6):
        losses = model(pairs, samples(2), mode='loss')
        assert all(loss.item() > 0 for loss in losses.values())
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        values.append(sum(losses.values()).item())
    assert values[-1] < values[0]
    after = model.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert any(key.startswith('temporal.') for key in changed)
    own = {key for key in changed if key.startswith('spatial.')}
    if objective == 'FeatureRegression' or name == '0':
        assert not own
    else:
        learns = ('backbone.layer4.1.', 'neck.', 'rpn_head.', 'roi_head.')
        assert own and all(
            key.startswith(tuple(f'spatial.detector.{part}' for part in learns)) for key in own
        )
        assert 'spatial.detector.backbone.layer4.1.conv1.weight' in own
    assert not any(key.startswith('teacher_task.') for key in changed)


def test_errors_of_outputs_do_not_depend_on_their_units():
    model = cut('0', tiny_semi_dff)
    split, layout = model.spatial.split, model.spatial.split._layout
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, sum(c for _, c in level), 4, 5, generator=generator) for level in layout]
    others = [m + 0.1 * torch.randn(m.shape, generator=generator) for m in maps]
    pixels = [[m.clone() for m in both] for both in (maps, others)]
    for both in pixels:
        first = layout[0][0][1]
        both[0][:, first:] *= 50  # all but the first output of the first level
    assert len(layout[0]) > 1

    def loss(propagated, target):
        batch = Distillation(model.spatial, model.spatial, propagated, target, [])
        return FeatureRegression()(batch)['loss_reg'].item()

    assert loss(maps, maps) == 0
    assert loss(*pixels[::-1]) == pytest.approx(loss(others, maps), rel=1e-4)
    assert loss(others, maps) == pytest.approx(0.01, rel=0.1)
    errors = [
        relative_error(split.comparable(other, true), split.comparable(true, true))
        for other, true in ((others, maps), pixels[::-1])
    ]
    assert errors[0].tolist() == pytest.approx(errors[1].tolist(), rel=1e-4)
    constant = [torch.full_like(m, 3.0) for m in maps]
    assert loss([m + 0.3 for m in constant], constant) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize('name', ['5', '0'])
def test_student_and_teacher_finish_the_features_once(name):
    model = cut(name, tiny_semi_dff).train()
    model.enter_step([dict(type='FeatureSemantics')], ('temporal', 'task_network'))
    feature = layers_called(model.spatial.feature_network)
    own, teachers = (
        m.task_network.get('backbone.layer4.1') for m in (model.spatial, model.teacher)
    )
    units = layers_called([unit for unit in (own, teachers) if unit])
    frame = frames(2)
    losses = model(torch.stack((frame, frame), 1), samples(2, same=True), mode='loss')
    assert all(loss.item() == 0 for loss in losses.values())
    assert set(feature.values()) == {1} and set(units.values()) <= {1}
    assert bool(units) == (name == '5') and (own is None or own is not teachers)
