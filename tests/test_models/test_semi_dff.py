import pytest
import torch

from semidff.models import SemiDFF, semi_dff
from semidff.models.data_preprocessor import digest_of
from semidff.models.semi_dff import FeatureCache
from semidff.models.spatial import plain_samples
from tests.detectors.stock_detectors import build_stock
from tests.tiny.models import (
    KINDS,
    awake,
    build,
    fcos,
    frames,
    samples,
    temporal,
    tiny_semi_dff,
    video_config,
)

REG, SEM = dict(type='FeatureRegression'), dict(type='FeatureSemantics')
PARTS = {'reg': ([REG], ('temporal',)), 'sem': ([SEM], ('temporal', 'task_network'))}
TWO_STAGE = {'loss_rpn_cls', 'loss_rpn_box', 'loss_roi_cls', 'loss_roi_box'}
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
    own, teacher = model.spatial.detector, model.teacher.spatial.detector
    assert own.backbone is teacher.backbone and own.neck is teacher.neck
    assert teacher.rpn_head is model.teacher_task['rpn_head'] is not own.rpn_head


@pytest.mark.parametrize('step', PARTS)
def test_frozen_tensors_are_bit_identical_after_training(model, step):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.set_objectives(*PARTS[step])
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
    model.set_objectives(*PARTS['sem'])
    train(model, 1)
    model.set_objectives(*PARTS['reg'])
    assert all(p.grad is None for p in model.parameters())
    before = {k: v.clone() for k, v in model.spatial.state_dict().items()}
    train(model, 2)
    assert all(torch.equal(v, before[k]) for k, v in model.spatial.state_dict().items())


def test_training_mode_leaves_the_teacher_asleep(model):
    for mode in (True, False, True):
        model.train(mode)
        assert model.temporal.training == mode
        for module in (model.spatial, model.teacher.spatial):
            assert not any(m.training for m in module.modules())


def test_teacher_does_not_follow_a_feature_network_that_learns(model):
    """Table 3e, temporal and spatial module."""
    current = frames(2, seed=1)
    before = model.teacher.features(current, samples(2))
    model.set_objectives([REG], ('temporal', 'task_network', 'feature_network'))
    train(model)
    assert not torch.equal(model.spatial.features(current)[0], before[0])
    compared = []
    model.objectives = [lambda batch: compared.append(batch) or {}]
    model(pairs(), samples(2), mode='loss')
    for features in (model.teacher.features(current, samples(2)), compared[0].target):
        assert torch.equal(features[0], before[0])
    own, teacher = model.spatial.detector, model.teacher.spatial.detector
    assert not any(p.requires_grad for p in teacher.parameters())
    assert any(p.requires_grad for p in own.backbone.parameters())
    assert (
        model.teacher_features[0] is teacher.backbone
        and model.teacher_task['rpn_head'] is teacher.rpn_head
    )


def test_one_pass_of_the_feature_network_per_pair(model):
    model.set_objectives(*PARTS['sem'])
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
        model.set_objectives(*PARTS[step])
    passed = []
    cached.spatial.detector.backbone.register_forward_hook(lambda m, i, o: passed.append(len(i[0])))
    for batch in (pairs(), pairs(), pairs().flip(1)):
        wanted, got = (m(batch, samples(2), mode='loss') for m in (plain, cached))
        assert got.keys() == wanted.keys()
        assert all(torch.allclose(got[name], wanted[name], rtol=1e-4) for name in wanted)
    assert passed == [1] * 4  # once per frame, though each came three times


@pytest.mark.parametrize('windows', [None, [(0, 32, 32, 64), (32, 0, 32, 64)]])
def test_frames_are_known_by_their_bytes_before_the_copy_to_the_device(windows, monkeypatch):
    model = tiny_semi_dff(feature_cache=1.0).train()
    model.set_objectives(*PARTS['reg'])
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(256, (2, 2, 3, 64, 96), generator=generator).byte()
    monkeypatch.setattr(semi_dff, 'digest_of', lambda image: pytest.fail('of the device'))
    losses = []
    for order in ((0, 1), (1, 0), (0, 1)):
        given = cropped_samples(windows) if windows else samples(2)
        data = dict(inputs=[inputs[i] for i in order], data_samples=[given[i] for i in order])
        losses.append(model(**model.data_preprocessor(data, True), mode='loss')['loss_reg'])
    assert len(model.feature_cache) == 4
    assert losses[0] == losses[2] and torch.isclose(losses[0], losses[1])
    assert digest_of(torch.zeros(3, 4, 8)) != digest_of(torch.zeros(3, 8, 4))


def cropped_samples(windows):
    given = samples(len(windows))
    for sample, window in zip(given, windows, strict=True):
        sample.set_metainfo(dict(crop_window=window))
    return given


@pytest.mark.parametrize(
    ('kind', 'step', 'both'),
    [('rfcn', 'reg', False), ('faster_rcnn', 'sem', True), ('retinanet', 'sem', False)],
)
def test_windows_are_crops_of_the_features_of_whole_frames(kind, step, both, monkeypatch):
    model = tiny_semi_dff(kind, feature_cache=1.0, both_directions=both).train()
    model.set_objectives(*PARTS[step])
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
    strides = model.temporal.feat_strides
    for i, (top, left, height, width) in enumerate(windows):
        assert torch.equal(key[i], pairs()[i, 0, :, top : top + height, left : left + width])
        assert cropped[i].img_shape == (height, width)
        for level, of_frame, stride in zip(features, whole, strides, strict=True):
            rows = slice(top // stride, (top + height) // stride)
            columns = slice(left // stride, (left + width) // stride)
            assert torch.allclose(level[i], of_frame[i][:, rows, columns], atol=1e-5)


def test_windows_of_a_network_that_rounds_sides_down():
    """It has no cells for a frame's last 8 pixels; windows have equal sizes nevertheless."""
    model = tiny_semi_dff(feature_cache=1.0).train()
    model.set_objectives(*PARTS['reg'])
    pool = torch.nn.AvgPool2d(16)
    cache = model.feature_cache
    cache.divisor, cache.network = 8, lambda images, _: (pool(images).repeat(1, 11, 1, 1)[:, :32],)
    given = cropped_samples([(0, 0, 40, 64), (16, 32, 40, 64)])
    for sample in given:
        sample.set_metainfo(dict(img_shape=(56, 96)))
    losses = model(pairs()[..., :56, :], given, mode='loss')
    assert losses['loss_reg'].isfinite()


def test_nothing_is_cached_of_a_feature_network_that_learns():
    model = tiny_semi_dff(feature_cache=1.0).train()
    model.set_objectives([REG], ('temporal',))
    model(pairs(), samples(2), mode='loss')
    assert len(model.feature_cache) == 4
    model.reset_teacher()
    assert not len(model.feature_cache)
    model(pairs(), samples(2), mode='loss')
    model.set_objectives([REG], ('temporal', 'feature_network'))
    loss = model(pairs(), samples(2), mode='loss')['loss_reg']
    assert not len(model.feature_cache)
    loss.backward()
    assert model.teacher_features is not None
    assert any(p.grad is not None for p in model.spatial.detector.backbone.parameters())


def test_weight_of_the_roi_boxes(model):
    """Half of a mean over 4 outputs is their part of the authors' mean over 8 outputs."""

    def losses(**weights):
        model.set_objectives([dict(SEM, **weights)], ('temporal',))
        return {k: v.item() for k, v in model(pairs(), samples(2), mode='loss').items()}

    plain, halved, both = losses(), losses(roi_box_weight=0.5), losses(box_weight=0.5)
    for name, loss in losses(weight=2.0, box_weight=0.25).items():
        assert loss == pytest.approx((0.5 if 'box' in name else 2) * plain[name])
    assert halved == {**plain, 'loss_roi_box': plain['loss_roi_box'] / 2}
    assert both == {**halved, 'loss_rpn_box': plain['loss_rpn_box'] / 2}


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('step', PARTS)
def test_steps_of_every_kind_of_detector(kind, step):
    model = tiny_semi_dff(kind).train()
    model.set_objectives(*PARTS[step])
    before = {k: v.clone() for k, v in model.spatial.state_dict().items()}
    names = {'loss_cls', 'loss_box'} if kind == 'retinanet' else TWO_STAGE
    losses = model(pairs(), samples(2), mode='loss')
    assert set(losses) == (names if step == 'sem' else {'loss_reg'})
    assert all(loss.item() > 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert model.temporal.flow_network.conv1.weight.grad.any()
    task = [p for m in model.spatial.task_network.values() for p in m.parameters()]
    assert all((p.grad is not None) == (step == 'sem') for p in task)
    assert all(p.grad is None for m in model.spatial.feature_network for p in m.parameters())
    after = train(model, 30 if step == 'reg' else 20 if kind == 'rfcn' else 3)
    if step == 'reg':
        assert after['loss_reg'] < (0.95 if kind == 'rfcn' else 1) * losses['loss_reg']
    changed = [k for k, v in model.spatial.state_dict().items() if not torch.equal(v, before[k])]
    assert bool(changed) == (step == 'sem')
    still = frames(2)[:, None].expand(-1, 2, -1, -1, -1)
    losses = model(still, samples(2, same=True), mode='loss').values()
    if step == 'reg':
        assert all(loss.item() == 0 for loss in losses)
    elif kind == 'rfcn':
        assert all(loss.item() > 1e-7 for loss in losses)
    model.reset_teacher()
    losses = model(still, samples(2, same=True), mode='loss').values()
    assert all(loss.item() == 0 for loss in losses)


def test_each_head_learns_from_its_own_loss(model):
    model.set_objectives(*PARTS['sem'])
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
    model.set_objectives(*PARTS[step])
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
    model.set_objectives(
        [dict(REG, weight=2.5), dict(REG, weight=0.5), dict(SEM, boxes=False)], ('temporal',)
    )
    losses = model(pairs(), samples(2), mode='loss')
    assert set(losses) == {'loss_reg', 'loss_rpn_cls', 'loss_roi_cls'}
    model.set_objectives([REG], ('temporal',))
    assert torch.allclose(
        losses['loss_reg'], 3 * model(pairs(), samples(2), mode='loss')['loss_reg']
    )


@pytest.mark.parametrize(
    'off,gone',
    [
        ('attention', 'loss_rpn_cls'),
        ('classes', 'loss_roi_cls'),
        ('boxes', 'loss_rpn_box loss_roi_box'),
    ],
)
def test_parts_of_the_semantic_loss_can_be_left_out(model, off, gone):
    model.set_objectives([{**SEM, off: False}], ('temporal',))
    everything = {'loss_rpn_cls', 'loss_rpn_box', 'loss_roi_cls', 'loss_roi_box'}
    assert set(model(pairs(), samples(2), mode='loss')) == everything - set(gone.split())


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
        assert torch.equal(model.teacher.spatial.detector.state_dict()[key], value)


@pytest.mark.parametrize('both', [False, True])
def test_steady_features(both):
    """The second difference of the features of three frames; none where nothing moves."""
    model = tiny_semi_dff(both_directions=both).train()
    model.set_objectives([dict(type='SteadyFeatures')], ('temporal',))
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


def test_teacher_of_its_own_has_the_weights_of_a_cut_head():
    """``moment_transfer`` belongs to neither the towers nor the layers behind them."""
    detector = build_stock('reppoints/reppoints-moment_r50_fpn_1x_coco', narrow=True)
    detector.level_embed = torch.nn.Parameter(torch.zeros(2))  # in a checkpoint once
    model = SemiDFF(detector, temporal=temporal(), split=dict(type='TowerSplit'))
    model.own_teacher_features()
    assert model.teacher.spatial.detector.level_embed is detector.level_embed
    torch.nn.init.constant_(detector.bbox_head.moment_transfer, 0.5)  # loaded
    model.reset_teacher()
    head = model.teacher.spatial.detector.bbox_head
    assert head is not detector.bbox_head and (head.moment_transfer == 0.5).all()
    model.set_objectives([REG], ['temporal', 'task_network', 'feature_network'])
    assert not detector.level_embed.requires_grad


# --- the correction -------------------------------------------------------------------------------


def corrected(kind, split):
    """A SemiDFF with a correction, whose maps are probed."""
    config = video_config('retinanet' if kind == 'fcos' else kind, split=dict(type=split))
    if kind == 'fcos':
        config['detector'] = fcos()
    config['temporal']['correction_width'] = 8
    model = build(config)
    awake(model)
    model.reset_teacher()
    return model


@pytest.mark.parametrize(
    ('kind', 'split'),
    [
        ('rfcn', 'OutputSplit'),
        ('faster_rcnn', 'ExtractFeatSplit'),
        ('retinanet', 'OutputSplit'),
        ('retinanet', 'TowerSplit'),
        ('fcos', 'OutputSplit'),  # distances in pixels
    ],
)
def test_the_correction_learns_in_the_semantic_step(kind, split):
    """Trained alone, on a motion that the flow network does not see yet."""
    model = corrected(kind, split).train()
    model.set_objectives([dict(type='FeatureSemantics')], ('temporal',))
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
    model.set_objectives([semantics], ('temporal', 'task_network'))
    assert not any(p.requires_grad for m in model.part('task_network') for p in m.parameters())
    sum(model(pairs(), samples(2), mode='loss').values()).backward()
    learning = {name for name, p in model.temporal.named_parameters() if p.requires_grad}
    got = {name for name, p in model.temporal.named_parameters() if p.grad is not None}
    assert learning == got
    # The maps that the RoI head pools have 16 channels, and are not compared.
    others = {name for name, _ in model.temporal.named_parameters()} - learning
    assert others and all(name.startswith('correction.blocks.16.') for name in others)
    model.set_objectives([semantics, dict(type='FeatureRegression')], ('temporal',))
    assert all(p.requires_grad for p in model.temporal.parameters())


# --- the feature cache ----------------------------------------------------------------------------


WHOLE = plain_samples(1, (64, 96))


class Network:
    """Two levels, and a count of the frames that came through."""

    frames = 0

    def __call__(self, images, samples=None):
        self.frames += len(images)
        return images[:, :, ::2, ::2] * 2, images[:, :1].sum((2, 3), keepdim=True)


def test_frames_go_through_the_network_once():
    network, images = Network(), frames(4)
    cache = FeatureCache(network, 1.0)
    for indices in ([0, 1, 2, 3], [3, 0], [2, 2, 1]):
        got, wanted = cache(images[indices].requires_grad_(), WHOLE), Network()(images[indices])
        assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))
        assert not any(level.requires_grad for level in got)
    assert network.frames == len(cache) == 4
    others = images[:1].flip(-1), torch.zeros(1, 3, 4, 8), torch.zeros(1, 3, 8, 4)
    for other in others:  # an augmentation; two of the same bytes
        assert torch.equal(cache(other, WHOLE)[0], Network()(other)[0])
    cache(images[:1], plain_samples(1, (64, 90)))  # of which transformers mask a part
    assert len(cache) == 8


def test_maps_of_another_precision_are_others():
    """The steps of a training may have optimizer wrappers of different precision."""
    cache = FeatureCache(
        lambda images, samples: (torch.nn.functional.conv2d(images, torch.ones(1, 3, 1, 1)),), 1.0
    )
    images = frames(2)
    for _ in range(2):
        with torch.autocast('cpu', torch.bfloat16):
            assert cache(images, WHOLE)[0].dtype == torch.bfloat16
        assert cache(images, WHOLE)[0].dtype == torch.float32
    assert len(cache) == 4


def test_memory_is_bounded_and_what_is_kept_stays():
    network, images = Network(), frames(4)
    of_one = sum(level.nbytes for level in Network()(images[:1]))
    cache = FeatureCache(network, 2.5 * of_one / 1e9)
    for _ in range(3):
        maps = cache(images, WHOLE)
    assert len(cache) == 2
    assert network.frames == 4 + 2 + 2
    assert torch.equal(maps[0], Network()(images)[0])
