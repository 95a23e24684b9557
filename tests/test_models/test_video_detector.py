import pytest
import torch
from mmengine.config import Config

from semidff.models import SemiDFF, VideoDetector
from semidff.utils.checkpoint import CheckpointError
from tests import models
from tests.detectors.stock_detectors import build_stock
from tests.models import fcos, frames, samples, tiny_rfcn, tiny_video_detector
from tests.tiny_video import build, detector_cfg

LIGHT = dict(type='TemporalModule', flow_network=dict(type='FlowNetS', width=1 / 8))


@pytest.fixture
def model():
    return tiny_video_detector().eval()


def count_calls(module):
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


@torch.no_grad()
def test_current_frames_never_meet_the_feature_network(model):
    backbone, neck = (count_calls(m) for m in model.spatial.feature_network)
    _, key = model.predict_key(frames(1), samples(1))
    assert len(backbone) == len(neck) == 1
    for i in range(3):
        results = model.predict_non_key(frames(1, seed=i), samples(1), key)
        assert len(results[0].pred_instances)
    assert len(backbone) == len(neck) == 1


@torch.no_grad()
def test_key_frames_are_the_image_detectors(model):
    by_key, _ = model.predict_key(frames(2), samples(2))
    by_detector = model.spatial.detector.predict(frames(2), samples(2))
    by_mode = model(frames(2), samples(2), mode='predict')
    for results in (by_detector, by_mode):
        for a, b in zip(by_key, results, strict=True):
            assert len(a.pred_instances) and torch.equal(
                a.pred_instances.bboxes, b.pred_instances.bboxes
            )
            assert torch.equal(a.pred_instances.scores, b.pred_instances.scores)


@torch.no_grad()
def test_current_frames_are_detected_on_propagated_features(model):
    key_frame, current = frames(2).split(1)
    _, key = model.predict_key(key_frame, samples(1))
    features = model.propagate(key_frame, current, model.spatial.features(key_frame), samples(1))
    assert not torch.allclose(features[0], key.features[0], atol=0.1)
    expected = model.spatial.predict(features, samples(1))[0].pred_instances
    result = model.predict_non_key(current, samples(1), key)[0].pred_instances
    assert torch.equal(result.bboxes, expected.bboxes) and torch.equal(
        result.scores, expected.scores
    )


@torch.no_grad()
def test_batched_equals_single(model):
    _, both = model.predict_key(frames(2), samples(2))
    batch = model.temporal(both.image, model.temporal.prepare(frames(2, seed=1)), both.features)
    for i in (0, 1):
        _, one = model.predict_key(frames(2)[i : i + 1], samples(1))
        single = model.temporal(
            one.image, model.temporal.prepare(frames(2, seed=1)[i : i + 1]), one.features
        )
        assert torch.allclose(batch[0][i], single[0][0], atol=1e-4)


def test_a_pair_of_one_frame_gives_the_per_frame_loss_exactly(model):
    frame = frames(2)
    torch.manual_seed(0)
    pair = model.parse_losses(
        model.loss(torch.stack((frame, frame), 1), samples(2, same=True, boxes=True))
    )[1]
    torch.manual_seed(0)
    alone = model.parse_losses(model.spatial.detector.loss(frame, samples(2, boxes=True)))[1]
    assert pair == alone


def test_still_pairs_in_a_batch_keep_the_others_propagated(model):
    key, current = frames(2), frames(2, seed=1)
    features = model.spatial.features(key)
    mixed = model.propagate(key, current, features, samples(1, same=True) + samples(1))
    moved = model.propagate(key, current, features, samples(2))
    assert torch.equal(mixed[0][0], features[0][0]) and torch.equal(mixed[0][1], moved[0][1])


def test_only_pairs_are_trained(model):
    with pytest.raises(ValueError, match=r'on pairs of frames .*, got \(2, 3, \d+, \d+\)'):
        model.loss(frames(2), samples(2, boxes=True))
    pairs = torch.stack((frames(2), frames(2, seed=1)), 1)
    with pytest.raises(ValueError, match='a temporal module, got NoneType'):
        model.with_temporal(None).loss(pairs, samples(2, boxes=True))


def test_supervised_loss_trains_all_parts(model):
    pairs = torch.stack((frames(2), frames(2, seed=1)), 1)
    total, _ = model.parse_losses(model.loss(pairs, samples(2, boxes=True)))
    total.backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


@pytest.mark.parametrize(
    'parts', [('temporal',), ('temporal', 'task_network'), ('feature_network',), ()]
)
def test_exactly_the_named_parts_learn(model, parts):
    frozen = {n for n, p in tiny_video_detector().named_parameters() if not p.requires_grad}
    assert frozen and all('backbone' in n for n in frozen)
    prefixes = dict(
        temporal=('temporal.',),
        task_network=('spatial.detector.rpn_head.', 'spatial.detector.roi_head.'),
        feature_network=('spatial.detector.backbone.', 'spatial.detector.neck.'),
    )
    wanted = tuple(prefix for part in parts for prefix in prefixes[part])
    for trial in (parts, ('task_network',), parts):
        model.set_trainable(trial)
    for name, parameter in model.named_parameters():
        # What the detector froze itself, its stem, stays frozen.
        assert parameter.requires_grad == (name.startswith(wanted) and name not in frozen), name


def test_unknown_parts_are_named(model):
    with pytest.raises(ValueError, match="unknown part 'backbone'.*temporal"):
        model.set_trainable(('backbone',))


@torch.no_grad()
def test_wrapping_any_detector():
    detector = tiny_rfcn().eval()
    model = VideoDetector.wrap(detector).eval()
    assert not model.has_temporal
    results, key = model.predict_key(frames(1), samples(1))
    expected = detector.predict(frames(1), samples(1))
    assert torch.equal(results[0].pred_instances.bboxes, expected[0].pred_instances.bboxes)
    assert key.image is None and key.features[0].shape == (1, 32, 4, 6)


def test_wrapping_a_built_detector_changes_nothing_of_it():
    detector = tiny_rfcn()
    before = {n: p.requires_grad for n, p in detector.named_parameters()}
    VideoDetector.wrap(detector)
    assert {n: p.requires_grad for n, p in detector.named_parameters()} == before


@torch.no_grad()
def test_forward_without_mode_gives_features(model):
    assert model(frames(1))[0].shape == (1, 32, 4, 6)


@pytest.fixture
def stage_one(tmp_path):
    """The config file and the checkpoint of an image detector."""
    config, path = tmp_path / 'detector.py', tmp_path / 'one.pth'
    Config(dict(model=detector_cfg())).dump(config)
    detector = build(detector_cfg(), seed=7)
    torch.save(
        dict(state_dict=detector.state_dict(), meta=dict(dataset_meta=dict(CLASSES=('a', 'b')))),
        path,
    )
    return str(config), str(path), detector


def named(detector, checkpoint=None, **changes):
    temporal = dict(type='TemporalModule', flow_network=dict(type='FlowNetS', width=1 / 16))
    torch.manual_seed(0)
    return SemiDFF(detector=detector, checkpoint=checkpoint, temporal=temporal, **changes)


@pytest.mark.parametrize('split', [None, dict(type='OutputSplit')], ids=['default', 'outputs'])
def test_a_named_detector_with_its_checkpoint(stage_one, split):
    config, checkpoint, detector = stage_one
    model, other = named(config, checkpoint, split=split), named(config, split=split)
    before = other.spatial.detector.bbox_head.retina_cls.weight.clone()
    for each in (model, other):
        each.init_weights()  # as the Runner does
    assert not torch.equal(other.spatial.detector.bbox_head.retina_cls.weight, before)
    for key, value in model.spatial.detector.state_dict().items():
        assert torch.equal(value, detector.state_dict()[key]), key
    for name, module in model.spatial.task_network.items():
        copied = model.teacher_task[name.replace('.', '_')]
        for key, value in module.state_dict().items():
            assert torch.equal(value, copied.state_dict()[key])
    assert model.dataset_meta == dict(classes=('a', 'b'))
    inputs = dict(inputs=[torch.randint(0, 256, (3, 50, 90))], data_samples=None)
    found, expected = (m.data_preprocessor(inputs)['inputs'] for m in (model, detector))
    assert torch.equal(found, expected)


def test_a_trained_video_detector_as_checkpoint(stage_one, tmp_path):
    config, checkpoint, _ = stage_one
    trained = named(config, checkpoint)
    torch.save(trained.state_dict(), tmp_path / 'two.pth')
    found = named(config, str(tmp_path / 'two.pth')).spatial.state_dict()
    assert all(torch.equal(v, found[k]) for k, v in trained.spatial.state_dict().items())


def test_a_checkpoint_that_does_not_fit_the_detector(stage_one, tmp_path):
    config, checkpoint, detector = stage_one
    state = detector.state_dict()
    state['bbox_head.retina_cls.weight'] = state['bbox_head.retina_cls.weight'][:1]
    torch.save(dict(state_dict=state), checkpoint)
    with pytest.raises(
        CheckpointError, match=r'one\.pth: does not fit.*RetinaNet.*retina_cls.*Give'
    ):
        named(config, checkpoint)
    with pytest.raises(CheckpointError, match=r'gone\.pth: there is no such checkpoint'):
        named(config, str(tmp_path / 'gone.pth'))


def test_a_named_detector_without_checkpoint_warns_once(recwarn):
    named('rtmdet-t')
    messages = [str(w.message) for w in recwarn if 'random weights' in str(w.message)]
    assert len(messages) == 1 and 'https://' in messages[0]


def test_losses_of_a_frozen_task_network_are_those_of_training():
    """FCOS with norm_on_bbox returns other boxes in evaluation, which its loss does not fit."""
    config = dict(
        type='VideoDetector',
        detector=dict(fcos(), data_preprocessor=dict(type='DetDataPreprocessor')),
        temporal=LIGHT,
    )
    pairs = torch.stack((frames(2), frames(2, seed=1)), 1)
    losses = []
    for parts in (['temporal'], ['temporal', 'task_network', 'feature_network']):
        model = models.build(dict(config, trainable=parts)).train()
        losses.append(model.loss(pairs, samples(2, boxes=True)))
    assert losses[0].keys() == losses[1].keys()
    for name, loss in losses[0].items():
        torch.testing.assert_close(loss, losses[1][name])


def test_losses_on_propagated_outputs_of_fsaf_are_those_on_its_features():
    detector = build_stock('fsaf/fsaf_r50_fpn_1x_coco', narrow=True)
    pairs, labels = frames(2)[:, None].expand(-1, 2, -1, -1, -1), samples(2, boxes=True)
    for sample in labels:
        sample.set_metainfo(dict(frame_id=0, key_frame_id=0))
    losses = []
    for split in (None, dict(type='OutputSplit')):
        model = VideoDetector(detector, LIGHT, split=split, trainable=['temporal']).train()
        losses.append(model.loss(pairs, labels))
    torch.testing.assert_close(*losses)


def test_losses_of_several_branches_are_refused():
    detector = build_stock('tridentnet/tridentnet_r50-caffe_1x_coco', narrow=True)
    model = VideoDetector(detector, LIGHT, trainable=['temporal']).train()
    with pytest.raises(TypeError, match='distill it'):
        model.loss(torch.stack((frames(2), frames(2)), 1), samples(2, boxes=True))


@pytest.mark.parametrize('parts', [['temporal'], ['temporal', 'task_network']])
def test_parameters_of_the_detector_itself_are_those_of_the_task_network(parts):
    detector = tiny_rfcn()
    detector.level_embed = torch.nn.Parameter(torch.zeros(2))
    model = VideoDetector(detector, temporal=models.temporal(), trainable=parts)
    assert detector.level_embed.requires_grad == ('task_network' in parts)
    assert model.spatial.detector is detector


def test_a_head_that_is_cut_learns_nothing_with_the_temporal_module():
    detector = build_stock('reppoints/reppoints-moment_r50_fpn_1x_coco', narrow=True)
    model = VideoDetector(detector, LIGHT, split=dict(type='TowerSplit'), trainable=['temporal'])
    learns = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert learns and all(name.startswith('temporal.') for name in learns)
