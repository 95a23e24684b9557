"""A detector, cut at every point of DFF's Table 5 (in small), and the table's configs."""

from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from semidff.models import FeatureRegression, SpatialModule
from semidff.models.objectives import Distillation
from tests.detectors.test_contract import check_predictions
from tests.tiny.models import build, faster_rcnn, frames, rfcn, samples, tiny_semi_dff
from tests.tiny.splits import SPLITS, cut, open_residuals, resnet

ROOT = Path(__file__).resolve().parents[3]

ALL = pytest.mark.parametrize('name', SPLITS)


def layers_called(modules):
    """Counts of calls of each layer with weights in the modules."""
    layers = (layer for module in modules for layer in module.modules())
    counts = {layer: 0 for layer in layers if getattr(layer, 'weight', None) is not None}
    for layer in counts:
        layer.register_forward_hook(lambda own, *_: counts.update({own: counts[own] + 1}))
    return counts


@ALL
def test_predictions_are_the_unsplit_detectors(name):
    split, channels = SPLITS[name]
    detector = cut(name).eval().spatial.detector
    split = split or dict(type='ExtractFeatSplit')
    check_predictions(detector, split, frames(2), samples(2), [(channels, 4, 6)])


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
    modules = [*model.part('feature_network'), *model.part('task_network')]
    buffers = {id(b) for module in modules for b in module.buffers()}
    assert buffers == {id(b) for b in model.spatial.buffers()}
    assert model.spatial.state_dict().keys() == cut('1').spatial.state_dict().keys()
    heads = ['neck', 'rpn_head', 'roi_head']
    task = {
        '21': ['backbone.layer3.1', 'backbone.layer4', *heads],
        '12': ['backbone.layer4', *heads],
        '5': ['backbone.layer4.1', *heads],
        '1': heads[1:],
    }
    assert name == '0' or list(model.spatial.task_network) == task[name]


@ALL
def test_the_supervised_loss_is_the_detectors_and_trains_all_parts(name):
    model, frame = cut(name), frames(2)
    results = []
    for compute in (  # of pairs of one frame
        lambda: model.loss(torch.stack((frame, frame), 1), samples(2, same=True, boxes=True)),
        lambda: model.spatial.detector.loss(frame, samples(2, boxes=True)),
    ):
        torch.manual_seed(0)  # RoIs are sampled
        results.append(model.parse_losses(compute())[1])
    assert results[0] == results[1]
    pairs = torch.stack((frame, frames(2, seed=1)), 1)
    model.parse_losses(model.train().loss(pairs, samples(2, boxes=True)))[0].backward()
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


@pytest.mark.parametrize('unit', ['layer3.0', 'layer3.1', 'layer2.1'])
def test_three_stages(unit):
    """The R-FCN of the quick start, as its config has it, narrower."""
    config = Config.fromfile(ROOT / 'configs/quickstart/rfcn_synthetic.py').model
    config.backbone.base_channels = 8
    config.neck.in_channels = 32
    init_default_scope('mmdet')
    detector = build(config).eval()
    open_residuals(detector)
    for kernel in (detector.rpn_head.rpn_cls, detector.roi_head.bbox_head.conv_cls):
        torch.nn.init.normal_(kernel.weight)
    check_predictions(detector, resnet(unit), frames(2), samples(2))


@pytest.mark.parametrize(
    'changes', [dict(depth=50), dict(with_cp=True), dict(deep_stem=True, avg_down=True)]
)
def test_other_resnets(changes):
    """Bottlenecks, checkpointing and another stem, in training, with frozen stages."""
    config = rfcn()
    config['backbone'].update(changes, frozen_stages=3)
    config['neck']['in_channels'] *= 4 if 'depth' in changes else 1
    detector = build(config).train()
    open_residuals(detector)
    spatial = SpatialModule(detector, resnet('layer3.1'))
    assert not any(p.requires_grad for m in spatial.feature_network for p in m.parameters())
    results = []
    for compute in (
        lambda: detector.loss(frames(2), samples(2, boxes=True)),
        lambda: spatial.loss(spatial.features(frames(2)), samples(2, boxes=True)),
    ):
        torch.manual_seed(0)
        detector.zero_grad()
        total, values = detector.parse_losses(compute())
        total.backward()
        results.append(
            (values, {k: p.grad for k, p in detector.named_parameters() if p.grad is not None})
        )
    assert results[0][0] == results[1][0]
    assert results[0][1].keys() == results[1][1].keys()
    assert all(torch.equal(grad, results[1][1][key]) for key, grad in results[0][1].items())


def test_a_pyramid_is_cut_below_its_lowest_level():
    detector = build(faster_rcnn()).eval()
    open_residuals(detector)
    check_predictions(detector, resnet('layer1.1'), frames(1), samples(1), [(8, 16, 24)])


@pytest.mark.parametrize(
    ('config', 'unit', 'error'),
    [
        (rfcn(), 'layer4.2', ValueError),
        (faster_rcnn(), 'layer3.0', ValueError),
        (dict(type='ResNet', depth=18), 'layer4.0', TypeError),
    ],
)
def test_units_and_detectors_that_cannot_be_cut(config, unit, error):
    with pytest.raises(error):
        SpatialModule(build(config), resnet(unit))


def count_layers(spatial: SpatialModule) -> int:
    """Layers with weights in N_task, counted as in Table 5.

    The projection of a residual unit counts too (else the paper's 12 were 11). The 1x1 convolutions
    of R-FCN, which read one map side by side, are one layer.
    """
    layers = {
        layer
        for module in spatial.task_network.values()
        for layer in module.modules()
        if isinstance(getattr(layer, 'weight', None), torch.nn.Parameter) and layer.weight.ndim > 1
    }
    names = spatial.heads.output_modules
    siblings = {spatial.detector.get_submodule(name) for name in names}
    return len(layers - siblings) + bool(layers & siblings)


@pytest.mark.parametrize('layers', [21, 12, 5, 1, 0])
def test_configs_are_table_5s(layers):
    """Layers of N_task and channels of the features in the full-size configs."""
    name = 'imagenet-det-vid' if layers == 1 else f'split{layers}'
    config = Config.fromfile(ROOT / f'configs/dff/dff_r101_{name}.py')
    init_default_scope('mmdet')
    with torch.device('meta'):
        model = MODELS.build(config.model)
        (features,) = model.eval().spatial.features(torch.empty(1, 3, 64, 96))
    spatial = model.spatial
    assert count_layers(spatial) == layers
    assert features.shape == (1, model.temporal.scale.out_channels, 4, 6)
    assert (
        features.shape[1] == {21: 1024, 12: 1024, 5: 2048, 1: 1024, 0: 18 + 36 + 1519 + 196}[layers]
    )
    # Only what fits is loaded from the flow network's training.
    part = config.load_parts.flow
    assert (
        part.part
        == part.prefix
        == ('temporal' if features.shape[1] == 1024 else 'temporal.flow_network')
    )


# --- semi-DFF's second stage ----------------------------------------------------------------------


def test_the_teacher_has_the_units_of_the_task_network():
    state = cut('5', tiny_semi_dff).state_dict()
    assert 'teacher_task.backbone_layer4_1.conv1.weight' in state
    assert not any(key.startswith('teacher_task.backbone_layer4_0') for key in state)


@pytest.mark.parametrize(
    ('name', 'objective'),
    [('5', 'FeatureRegression'), ('5', 'FeatureSemantics'), ('0', 'FeatureSemantics')],
)
def test_steps_of_the_distillation(name, objective):
    model = cut(name, tiny_semi_dff).train()
    model.set_objectives([dict(type=objective)], ('temporal', 'task_network'))
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
    layout = model.spatial.split._layout
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, sum(c for _, c in level), 4, 5, generator=generator) for level in layout]
    others = [m + 0.1 * torch.randn(m.shape, generator=generator) for m in maps]
    pixels = [[m.clone() for m in both] for both in (maps, others)]
    for both in pixels:
        first = layout[0][0][1]
        both[0][:, first:] *= 50  # all but the first output of the first level
    assert len(layout[0]) > 1

    def loss(propagated, target):
        batch = Distillation(model.spatial, model.teacher, propagated, target, [])
        return FeatureRegression()(batch)['loss_reg'].item()

    assert loss(maps, maps) == 0
    assert loss(*pixels[::-1]) == pytest.approx(loss(others, maps), rel=1e-4)
    assert loss(others, maps) == pytest.approx(0.01, rel=0.1)
    constant = [torch.full_like(m, 3.0) for m in maps]
    assert loss([m + 0.3 for m in constant], constant) == pytest.approx(1, rel=1e-4)
