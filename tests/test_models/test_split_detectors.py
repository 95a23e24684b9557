"""Splits of other detectors, splits that cannot be, and the configs of DFF's Table 5."""

from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from semidff.models import SpatialModule
from tests.models import build, faster_rcnn, frames, rfcn, samples, tiny_rfcn
from tests.splits import open_residuals, resnet, same

ROOT = Path(__file__).resolve().parents[2]


@torch.no_grad()
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
    expected = detector.predict(frames(2), samples(2))
    spatial = SpatialModule(detector, resnet(unit))
    same(spatial.predict(spatial.features(frames(2)), samples(2)), expected)


@pytest.mark.parametrize(
    'changes', [dict(depth=50), dict(with_cp=True), dict(deep_stem=True, avg_down=True)]
)
def test_other_resnets(changes):
    """Bottlenecks, checkpointing and another stem, in training with a part of the backbone frozen."""
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


@torch.no_grad()
def test_a_pyramid_can_be_cut_below_its_lowest_level_only():
    detector = build(faster_rcnn()).eval()
    open_residuals(detector)
    spatial = SpatialModule(detector, resnet('layer1.1'))
    expected = detector.predict(frames(1), samples(1))
    features = spatial.features(frames(1))
    assert [level.shape for level in features] == [(1, 8, 16, 24)]
    same(spatial.predict(features, samples(1)), expected)
    message = r"ahead of the cut.*\(0, 1, 2, 3\).*'layer1.0' or earlier"
    with pytest.raises(ValueError, match=message):
        SpatialModule(detector, resnet('layer3.0'))


# --- errors ---------------------------------------------------------------------------------------------------


def test_units_that_do_not_exist():
    with pytest.raises(ValueError, match=r"such as 'layer4.2', got 'conv5c'"):
        SpatialModule(tiny_rfcn(), resnet('conv5c'))
    for unit in ('layer4.2', 'layer5.0', 'layer0.0'):
        with pytest.raises(ValueError, match=rf"'{unit}'.*no such unit.*layer4.0, layer4.1"):
            SpatialModule(tiny_rfcn(), resnet(unit))


def test_detectors_that_cannot_be_cut():
    with pytest.raises(TypeError, match='not Conv2d with backbone NoneType'):
        SpatialModule(torch.nn.Conv2d(1, 1, 1), resnet('layer4.0'))


# --- the paper's detector -------------------------------------------------------------------------------------


def count_layers(spatial: SpatialModule) -> int:
    """Layers with weights in N_task, counted as in Table 5.

    The projection of a residual unit counts too (else the paper's 12 were 11). The 1x1 convolutions of R-FCN, which
    read one map side by side, are one layer.
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
