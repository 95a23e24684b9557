"""Stage two and video prediction with every kind of detector."""

import pytest
import torch

from tests.models import awake, build, fcos, frames, samples, tiny_semi_dff, video_config

KINDS = pytest.mark.parametrize('kind', ['rfcn', 'faster_rcnn', 'retinanet'])
TWO_STAGE = {'loss_rpn_cls', 'loss_rpn_box', 'loss_roi_cls', 'loss_roi_box'}


def pairs():
    return torch.stack((frames(2), frames(2, seed=1)), 1)


@KINDS
def test_regression_step(kind):
    model = tiny_semi_dff(kind).train()
    model.enter_step([dict(type='FeatureRegression')], ('temporal',))
    before = {k: v.clone() for k, v in model.spatial.state_dict().items()}
    optimizer = torch.optim.SGD(model.temporal.parameters(), lr=1e-2)
    values = []
    for _ in range(8):
        loss = model(pairs(), samples(2), mode='loss')['loss_reg']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < values[0]
    assert all(torch.equal(v, before[k]) for k, v in model.spatial.state_dict().items())


@KINDS
def test_semantic_step(kind):
    model = tiny_semi_dff(kind).train()
    model.enter_step([dict(type='FeatureSemantics')], ('temporal', 'task_network'))
    losses = model(pairs(), samples(2), mode='loss')
    assert set(losses) == (TWO_STAGE if kind != 'retinanet' else {'loss_cls', 'loss_box'})
    assert all(loss.item() > 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert model.temporal.flow_network.conv1.weight.grad.any()
    for module in model.spatial.task_network.values():
        assert all(p.grad is not None for p in module.parameters())
    assert all(p.grad is None for m in model.spatial.feature_network for p in m.parameters())


@KINDS
@torch.no_grad()
def test_semantic_loss_is_zero_on_still_pairs(kind):
    model = tiny_semi_dff(kind).train()
    model.enter_step([dict(type='FeatureSemantics')], ('temporal', 'task_network'))
    frame = frames(2)
    losses = model(torch.stack((frame, frame), 1), samples(2, same=True), mode='loss')
    assert all(loss.item() == 0 for loss in losses.values())


@KINDS
@torch.no_grad()
def test_video_prediction(kind):
    model = tiny_semi_dff(kind).eval()
    calls = []
    model.spatial.detector.backbone.register_forward_hook(lambda *_: calls.append(1))
    on_key, key = model.predict_key(frames(1), samples(1))
    assert len(key.features) == len(model.temporal.feat_strides)
    on_current = model.predict_non_key(frames(1, seed=1), samples(1), key)
    assert len(calls) == 1
    for result in (on_key[0].pred_instances, on_current[0].pred_instances):
        assert len(result) and result.bboxes.shape[1] == 4 and result.scores.isfinite().all()


def corrected(kind, split):
    """A SemiDFF with a correction, whose maps are probed."""
    config = video_config('retinanet' if kind == 'fcos' else kind, split=dict(type=split))
    if kind == 'fcos':
        config['detector'] = fcos()
    for name in ('feat_channels', 'feat_strides'):
        config['temporal'].pop(name)
    config['temporal']['correction_width'] = 8
    model = build(config)
    awake(model)
    model.reset_teacher()
    return model


CORRECTED = pytest.mark.parametrize(
    ('kind', 'split'),
    [
        ('rfcn', 'OutputSplit'),
        ('faster_rcnn', 'OutputSplit'),
        ('faster_rcnn', 'ExtractFeatSplit'),
        ('retinanet', 'OutputSplit'),
        ('retinanet', 'TowerSplit'),
        ('fcos', 'OutputSplit'),  # distances in pixels
    ],
)


@CORRECTED
def test_the_correction_learns_in_the_semantic_step(kind, split):
    """Trained alone, on a motion that the flow network does not see yet."""
    model = corrected(kind, split).train()
    model.enter_step([dict(type='FeatureSemantics')], ('temporal',))
    weights = list(model.temporal.correction.parameters())
    optimizer = torch.optim.Adam(weights, lr=5e-3)
    values = []
    for _ in range(20):
        loss = sum(model(pairs(), samples(2), mode='loss').values())
        optimizer.zero_grad()
        loss.backward()
        if values:  # the last convolution starts at zero
            assert all(p.grad.any() for p in weights)
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.9 * values[0]


def test_only_propagated_maps_are_compared():
    """The outputs of the RPN, after which no weights of the task network come."""
    model = corrected('faster_rcnn', 'OutputSplit').train()
    semantics = dict(type='FeatureSemantics', classes=False, boxes=False)
    model.enter_step([semantics], ('temporal', 'task_network'))
    assert not any(p.requires_grad for m in model.part('task_network') for p in m.parameters())
    sum(model(pairs(), samples(2), mode='loss').values()).backward()
    learning = {name for name, p in model.temporal.named_parameters() if p.requires_grad}
    got = {name for name, p in model.temporal.named_parameters() if p.grad is not None}
    assert learning == got
    # The maps that the RoI head pools have 16 channels, and are not compared.
    others = {name for name, _ in model.temporal.named_parameters()} - learning
    assert others and all(name.startswith('correction.blocks.16.') for name in others)
    model.enter_step([semantics, dict(type='FeatureRegression')], ('temporal',))
    assert all(p.requires_grad for p in model.temporal.parameters())


@CORRECTED
@torch.no_grad()
def test_key_frames_are_not_corrected(kind, split):
    model, plain = corrected(kind, split).eval(), corrected(kind, split).eval()
    plain.temporal = None
    for block in model.temporal.correction.blocks.values():
        torch.nn.init.normal_(block[-1].weight)
    (found, key), (expected, _) = (m.predict_key(frames(1), samples(1)) for m in (model, plain))
    for name in ('bboxes', 'scores', 'labels'):
        one, other = (result[0].pred_instances[name] for result in (found, expected))
        assert len(one) and torch.equal(one, other)
    moved = model.predict_non_key(frames(1, seed=1), samples(1), key)[0].pred_instances
    assert len(moved) and moved.scores.isfinite().all()
