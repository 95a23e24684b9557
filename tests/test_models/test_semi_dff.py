import pytest
import torch

from semidff.models import FeatureRegression, SemiDFF
from tests.detectors.stock_detectors import build_stock
from tests.models import (
    CLASSES,
    KINDS,
    build,
    frames,
    samples,
    temporal,
    tiny_rfcn,
    tiny_semi_dff,
    video_config,
)

REG, SEM = dict(type='FeatureRegression'), dict(type='FeatureSemantics')
PARTS = {'reg': ([REG], ('temporal',)), 'sem': ([SEM], ('temporal', 'task_network'))}
FROZEN = ('spatial.detector.backbone.', 'spatial.detector.neck.', 'teacher_task.')


@pytest.fixture
def model():
    return tiny_semi_dff().train()


def pairs(count=2):
    return torch.stack((frames(count), frames(count, seed=1)), 1)


def train(model, iterations=3, same=False):
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=1e-2, momentum=0.9, weight_decay=0.1)
    for _ in range(iterations):
        model.train()
        losses = model(pairs(), samples(2, same), mode='loss')
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    return losses


def test_teacher_is_stored_once(model):
    state = model.state_dict()
    copied = {k for k in state if k.startswith('teacher_task.')}
    assert {k.split('.')[1] for k in copied} == {'rpn_head', 'roi_head'}
    assert not any(k.startswith('teacher.') for k in state)
    pointers = [value.data_ptr() for value in state.values() if value.numel()]
    assert len(set(pointers)) == len(pointers)


def test_teacher_shares_the_feature_network_in_memory(model):
    own, teacher = model.spatial.detector, model.teacher.detector
    for part in ('backbone', 'neck'):
        assert getattr(own, part) is getattr(teacher, part)
    assert teacher.rpn_head is model.teacher_task['rpn_head'] is not own.rpn_head


@pytest.mark.parametrize('step', PARTS)
def test_frozen_tensors_are_bit_identical_after_training(model, step):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.enter_step(*PARTS[step])
    train(model)
    after = model.state_dict()
    frozen = FROZEN if step == 'sem' else ('spatial.', 'teacher_task.')
    assert sum('running_mean' in k for k in before) > 10
    for key, value in before.items():
        assert (
            torch.equal(value, after[key]) == key.startswith(frozen)
            or not after[key].is_floating_point()
        ), key


def test_gradients_of_a_step_do_not_move_the_next(model):
    model.enter_step(*PARTS['sem'])
    train(model, 1)
    model.enter_step(*PARTS['reg'])
    assert all(p.grad is None for p in model.parameters())
    before = {k: v.clone() for k, v in model.spatial.state_dict().items()}
    train(model, 2)
    assert all(torch.equal(v, before[k]) for k, v in model.spatial.state_dict().items())


def test_training_mode_leaves_the_teacher_asleep(model):
    for mode in (True, False, True):
        model.train(mode)
        assert model.temporal.training == mode
        for module in (model.spatial, model.teacher_task, model.teacher):
            assert not any(m.training for m in module.modules())


def test_teacher_does_not_follow_a_feature_network_that_learns(model):
    """Table 3e, temporal and spatial module."""
    current = frames(2, seed=1)
    before = model.teacher.features(current)
    model.enter_step([REG], ('temporal', 'task_network', 'feature_network'))
    train(model)
    assert not torch.equal(model.spatial.features(current)[0], before[0])
    compared = []
    model.objectives = [lambda batch: compared.append(batch) or {}]
    model(pairs(), samples(2), mode='loss')
    for features in (model.teacher.features(current), compared[0].target):
        assert torch.equal(features[0], before[0])
    own, teacher = model.spatial.detector, model.teacher.detector
    assert not any(p.requires_grad for p in teacher.parameters())
    assert any(p.requires_grad for p in own.backbone.parameters())
    assert (
        model.teacher_features[0] is teacher.backbone
        and model.teacher_task['rpn_head'] is teacher.rpn_head
    )


def test_both_directions_of_a_feature_network_that_learns():
    model = tiny_semi_dff(both_directions=True).train()
    model.enter_step([REG], ('temporal', 'feature_network'))
    key, current = pairs().unbind(1)
    compared = []
    model.objectives = [lambda batch: compared.append(batch) or {}]
    model(pairs(), samples(2), mode='loss')
    [wanted] = model.teacher.features(torch.cat((current, key)))
    torch.testing.assert_close(compared[0].target[0], wanted)
    assert compared[0].propagated[0].requires_grad and not compared[0].target[0].requires_grad


def test_proposals_of_non_key_frames_are_compared():
    losses = []
    for settings in (None, dict(rpn=dict(max_per_img=3))):
        model = tiny_semi_dff('faster_rcnn', non_key_test_cfg=settings).train()
        model.enter_step(*PARTS['sem'])
        losses.append(model(pairs(), samples(2), mode='loss'))
    same = {name: torch.equal(losses[0][name], losses[1][name]) for name in losses[0]}
    assert same == dict(
        loss_rpn_cls=True, loss_rpn_box=True, loss_roi_cls=False, loss_roi_box=False
    )


def test_a_shared_weight_outside_all_parts_stays(model):
    """As the level embedding of Deformable DETR."""
    model.spatial.detector.embedding = torch.nn.Parameter(torch.zeros(3))
    model.enter_step(*PARTS['sem'])
    assert not model.spatial.detector.embedding.requires_grad


def test_one_pass_of_the_feature_network_per_pair(model):
    model.enter_step(*PARTS['sem'])
    calls = []
    model.spatial.detector.backbone.register_forward_hook(
        lambda m, i, o: calls.append((i[0].shape[0], o))
    )
    model(pairs(), samples(2), mode='loss')
    assert [count for count, _ in calls] == [4]
    assert not any(level.requires_grad for level in calls[0][1])


@pytest.mark.parametrize('step', PARTS)
def test_cached_features_give_the_same_losses(step):
    plain, cached = tiny_semi_dff().train(), tiny_semi_dff(feature_cache=1.0).train()
    for model in (plain, cached):
        model.enter_step(*PARTS[step])
    passed = []
    cached.spatial.detector.backbone.register_forward_hook(lambda m, i, o: passed.append(len(i[0])))
    for batch in (pairs(), pairs(), pairs().flip(1)):
        wanted, got = (m(batch, samples(2), mode='loss') for m in (plain, cached))
        assert got.keys() == wanted.keys()
        assert all(torch.allclose(got[name], wanted[name], rtol=1e-4) for name in wanted)
    assert passed == [1] * 4  # once per frame, though each came three times


def cropped_samples(windows):
    given = samples(len(windows))
    for sample, window in zip(given, windows, strict=True):
        sample.set_metainfo(dict(crop_window=window))
    return given


@pytest.mark.parametrize('both', [False, True])
@pytest.mark.parametrize('step', PARTS)
@pytest.mark.parametrize('kind', KINDS)
def test_windows_are_crops_of_the_features_of_whole_frames(kind, step, both, monkeypatch):
    model = tiny_semi_dff(kind, feature_cache=1.0, both_directions=both).train()
    model.enter_step(*PARTS[step])
    seen = []
    propagate = model.propagate
    monkeypatch.setattr(model, 'propagate', lambda *args: (seen.append(args), propagate(*args))[1])
    windows = [(0, 32, 32, 64), (32, 0, 32, 64)]
    for _ in range(2):
        losses = model(pairs(), cropped_samples(windows), mode='loss')
        assert all(loss.isfinite().all() for loss in losses.values())
    sum(losses.values()).backward()
    assert model.temporal.flow_network.predict_flow.weight.grad.any()
    assert len(model.feature_cache) == 4
    key, current, features, cropped = seen[1]
    assert len(key) == len(current) == len(cropped) == (4 if both else 2)
    whole = model.spatial.features(pairs()[:, 0])
    for i, (top, left, height, width) in enumerate(windows):
        part = pairs()[i, 0, :, top : top + height, left : left + width]
        assert torch.equal(key[i], part)
        assert cropped[i].img_shape == (height, width)
        for level, of_frame, stride in zip(
            features, whole, model.temporal.feat_strides, strict=True
        ):
            place = (slice(at // stride, (at + size) // stride) for at, size in
                     ((top, height), (left, width)))  # fmt: skip
            assert torch.allclose(level[i], of_frame[i][(..., *place)], atol=1e-5)


def test_losses_of_objectives_of_one_type_are_added():
    model = tiny_semi_dff().train()
    single = []
    for weight in (1.0, 0.5):
        model.enter_step([dict(REG, weight=weight)], ('temporal',))
        single.append(model(pairs(), samples(2), mode='loss')['loss_reg'])
    model.enter_step([REG, dict(REG, weight=0.5)], ('temporal',))
    total = model(pairs(), samples(2), mode='loss')['loss_reg']
    assert total.item() == pytest.approx(sum(single).item())


def test_nothing_is_cached_of_a_feature_network_that_learns():
    model = tiny_semi_dff(feature_cache=1.0).train()
    model.enter_step([REG], ('temporal',))
    model(pairs(), samples(2), mode='loss')
    assert len(model.feature_cache) == 4
    model.enter_step([REG], ('temporal', 'feature_network'))
    loss = model(pairs(), samples(2), mode='loss')['loss_reg']
    assert not len(model.feature_cache)
    loss.backward()
    assert model.teacher_features is not None
    assert any(p.grad is not None for p in model.spatial.detector.backbone.parameters())


def test_a_new_teacher_has_no_old_features():
    model = tiny_semi_dff(feature_cache=1.0).train()
    model.enter_step([REG], ('temporal',))
    model(pairs(), samples(2), mode='loss')
    model.reset_teacher()
    assert not len(model.feature_cache)


def test_weight_of_the_roi_boxes(model):
    """Half of a mean over 4 outputs is their part of the authors' mean over 8 outputs."""

    def losses(**weights):
        model.enter_step([dict(SEM, **weights)], ('temporal',))
        return {k: v.item() for k, v in model(pairs(), samples(2), mode='loss').items()}

    plain, halved, both = losses(), losses(roi_box_weight=0.5), losses(box_weight=0.5)
    assert halved == {**plain, 'loss_roi_box': plain['loss_roi_box'] / 2}
    assert both == {**halved, 'loss_rpn_box': plain['loss_rpn_box'] / 2}


def test_semantic_loss_is_zero_where_student_and_teacher_see_the_same(model):
    model.enter_step(*PARTS['sem'])
    frame = frames(2)
    losses = model(torch.stack((frame, frame), 1), samples(2, same=True), mode='loss')
    assert set(losses) == {'loss_rpn_cls', 'loss_rpn_box', 'loss_roi_cls', 'loss_roi_box'}
    assert all(loss.item() == 0 for loss in losses.values())


def test_semantic_loss_sees_the_trained_student(model):
    model.enter_step(*PARTS['sem'])
    train(model, 20)
    frame = frames(2)
    losses = model(torch.stack((frame, frame), 1), samples(2, same=True), mode='loss')
    assert all(loss.item() > 1e-7 for loss in losses.values())
    model.reset_teacher()
    losses = model(torch.stack((frame, frame), 1), samples(2, same=True), mode='loss')
    assert all(loss.item() == 0 for loss in losses.values())


def test_each_head_learns_from_its_own_loss(model):
    model.enter_step(*PARTS['sem'])
    losses = model(pairs(), samples(2), mode='loss')
    own = dict(model.spatial.named_parameters())
    heads = dict(
        loss_rpn_cls='rpn_cls',
        loss_rpn_box='rpn_reg',
        loss_roi_cls='conv_cls',
        loss_roi_box='conv_reg',
    )
    for name, loss in losses.items():
        loss.backward(retain_graph=True)
        moved = {k.split('.')[-2] for k, p in own.items() if p.grad is not None and p.grad.any()}
        assert moved == {heads[name]}
        assert model.temporal.flow_network.conv1.weight.grad.any()
        model.zero_grad()


@pytest.mark.parametrize('step', PARTS)
def test_both_directions_are_the_mean_of_the_two(step):
    model = tiny_semi_dff(both_directions=True).train()
    model.enter_step(*PARTS[step])
    both = model(pairs(), samples(2), mode='loss')
    model.both_directions = False
    forward = model(pairs(), samples(2), mode='loss')
    backward = model(pairs().flip(1), samples(2), mode='loss')
    assert set(both) == set(forward)
    for name in ('loss_reg', 'loss_rpn_cls', 'loss_rpn_box'):
        if name in both:
            mean = (forward[name] + backward[name]) / 2
            assert torch.allclose(both[name], mean, rtol=1e-4), name


def test_objectives_of_a_step_are_added(model):
    model.enter_step([dict(REG, weight=3.0), dict(SEM, boxes=False)], ('temporal',))
    losses = model(pairs(), samples(2), mode='loss')
    assert set(losses) == {'loss_reg', 'loss_rpn_cls', 'loss_roi_cls'}
    model.enter_step([REG], ('temporal',))
    assert torch.allclose(
        losses['loss_reg'], 3 * model(pairs(), samples(2), mode='loss')['loss_reg']
    )


def test_weights_of_the_semantic_parts(model):
    model.enter_step([SEM], ('temporal',))
    plain = model(pairs(), samples(2), mode='loss')
    model.enter_step([dict(SEM, weight=2.0, box_weight=0.25)], ('temporal',))
    weighted = model(pairs(), samples(2), mode='loss')
    for name, loss in plain.items():
        factor = 0.5 if 'box' in name else 2
        assert torch.allclose(weighted[name], factor * loss)


@pytest.mark.parametrize(
    'off,gone',
    [
        ('attention', 'loss_rpn_cls'),
        ('classes', 'loss_roi_cls'),
        ('boxes', 'loss_rpn_box loss_roi_box'),
    ],
)
def test_parts_of_the_semantic_loss_can_be_left_out(model, off, gone):
    model.enter_step([{**SEM, off: False}], ('temporal',))
    everything = {'loss_rpn_cls', 'loss_rpn_box', 'loss_roi_cls', 'loss_roi_box'}
    assert set(model(pairs(), samples(2), mode='loss')) == everything - set(gone.split())


def test_a_semantic_loss_that_compares_nothing_is_refused_before_training():
    model = tiny_semi_dff('retinanet')
    with pytest.raises(ValueError, match=r"none of the outputs \['cls', 'box'\]"):
        model.without_gradient([dict(SEM, attention=False, boxes=False)])


def test_l1_regression(model):
    model.enter_step([dict(REG, norm='l1')], ('temporal',))
    assert model(pairs(), samples(2), mode='loss')['loss_reg'] > 0
    with pytest.raises(ValueError, match="norm must be one of .*got 'l3'"):
        FeatureRegression(norm='l3')


def test_the_teacher_has_the_initialized_weights(tmp_path):
    """Also where nothing but ``init_cfg`` gives the detector its weights."""
    trained = tiny_semi_dff()
    torch.save(dict(state_dict=trained.spatial.detector.state_dict()), tmp_path / 'one.pth')
    cfg = video_config()
    cfg['detector']['init_cfg'] = dict(type='Pretrained', checkpoint=str(tmp_path / 'one.pth'))
    model = build(cfg)
    model.init_weights()
    for key, value in trained.spatial.detector.state_dict().items():
        assert torch.equal(model.spatial.detector.state_dict()[key], value)
        assert torch.equal(model.teacher.detector.state_dict()[key], value)


@pytest.mark.parametrize('both', [False, True])
def test_steady_features(both):
    """The second difference of the features of three frames; none where nothing moves."""
    model = tiny_semi_dff(both_directions=both).train()
    model.enter_step([dict(type='SteadyFeatures')], ('temporal',))
    a, b, c = (frames(2, seed=seed) for seed in range(3))
    losses = model(torch.stack((a, b, c), 1), samples(2), mode='loss')
    expected = []
    for first, last in ((a, c), (c, a))[: 1 + both]:
        (start,) = features = model.spatial.features(first)
        (middle,), (end,) = (model.propagate(first, x, features, samples(2)) for x in (b, last))
        expected.append((end - 2 * middle + start).square().mean())
    assert list(losses) == ['loss_steady']
    assert losses['loss_steady'].item() == pytest.approx(
        sum(expected).item() / len(expected), rel=1e-4
    )
    assert losses['loss_steady'] > 0
    with pytest.raises(ValueError, match='set triplets=True'):
        model(pairs(), samples(2), mode='loss')


def test_training_without_a_step_is_an_error(model):
    with pytest.raises(RuntimeError, match='DistillationLoop'):
        model(pairs(), samples(2), mode='loss')


def test_a_temporal_module_is_needed():
    with pytest.raises(ValueError, match='set model.temporal'):
        build(dict(video_config(), temporal=None))


def test_regression_step_learns():
    model = tiny_semi_dff().train()
    model.enter_step(*PARTS['reg'])
    first = train(model, 1)['loss_reg'].item()
    assert train(model, 30)['loss_reg'].item() < 0.95 * first


def test_teacher_of_its_own_shares_the_detectors_own_parameters():
    """A checkpoint holds them once, and they have no values before the weights are loaded."""
    detector = tiny_rfcn()
    detector.level_embed = torch.nn.Parameter(torch.zeros(2))
    model = SemiDFF(detector, temporal=temporal())
    model.own_teacher_features()
    assert model.teacher.detector is not detector
    assert model.teacher.detector.level_embed is detector.level_embed
    model.enter_step([REG], ['temporal', 'task_network', 'feature_network'])
    assert not detector.level_embed.requires_grad


def test_teacher_of_its_own_has_the_weights_of_a_cut_head():
    """One that belongs to neither the towers nor the layers behind them."""
    detector = build_stock('reppoints/reppoints-moment_r50_fpn_1x_coco', narrow=True)
    flow = temporal()
    del flow['feat_channels'], flow['feat_strides']
    model = SemiDFF(detector, temporal=flow, split=dict(type='TowerSplit'))
    model.own_teacher_features()
    torch.nn.init.constant_(detector.bbox_head.moment_transfer, 0.5)  # loaded
    model.reset_teacher()
    head = model.teacher.detector.bbox_head
    assert head is not detector.bbox_head and (head.moment_transfer == 0.5).all()


def seesaw(config):
    config['roi_head']['bbox_head']['loss_cls'] = dict(type='SeesawLoss', num_classes=CLASSES)


SABL = dict(
    type='SABLHead',
    num_classes=CLASSES,
    cls_in_channels=16,
    reg_in_channels=16,
    roi_feat_size=3,
    cls_out_channels=16,
    reg_offset_out_channels=16,
    reg_cls_out_channels=16,
    bbox_coder=dict(type='BucketingBBoxCoder', num_buckets=6, scale_factor=1.7),
)


def sabl(config):
    config['roi_head']['bbox_head'] = SABL


def sabl_cascade(config):
    config['type'] = 'CascadeRCNN'
    config['roi_head'].update(
        type='CascadeRoIHead', num_stages=2, stage_loss_weights=[1, 0.5], bbox_head=[SABL, SABL]
    )
    config['train_cfg'] = dict(config['train_cfg'], rcnn=[config['train_cfg']['rcnn']] * 2)


def crowddet(config):
    config['roi_head'].update(
        type='MultiInstanceRoIHead',
        bbox_head=dict(
            type='MultiInstanceBBoxHead',
            num_shared_fcs=1,
            in_channels=16,
            fc_out_channels=16,
            roi_feat_size=3,
            num_classes=CLASSES,
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False),
        ),
    )


@pytest.mark.parametrize(
    ('change', 'found'),
    [
        (seesaw, 'Shared2FCBBoxHead with SeesawLoss'),
        (sabl, 'SABLHead'),
        (sabl_cascade, 'SABLHead'),
        (crowddet, 'MultiInstanceBBoxHead'),
    ],
)
def test_outputs_of_box_heads_that_cannot_be_compared_are_refused_before_training(change, found):
    config = video_config('faster_rcnn')
    change(config['detector'])
    model = build(config)
    with pytest.raises(TypeError, match=f'{found}. Only the regression loss applies'):
        model.without_gradient([SEM])
    assert model.without_gradient([REG]) == []
