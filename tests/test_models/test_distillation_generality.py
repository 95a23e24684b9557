"""Stage two and video prediction with every kind of detector."""

import pytest
import torch

from tests.models import frames, samples, tiny_semi_dff

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
