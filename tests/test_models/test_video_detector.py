from pathlib import Path

import pytest
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict

from semidff.models import SemiDFF, VideoDetector
from tests.detectors.stock_detectors import build_stock
from tests.tiny import models
from tests.tiny.models import assert_same, fcos, frames, samples, tiny_rfcn, tiny_video_detector
from tests.tiny.videos import build, detector_cfg

LIGHT = dict(type='TemporalModule', flow_network=dict(type='FlowNetS', width=1 / 8))


@pytest.fixture
def model():
    return tiny_video_detector().eval()


@torch.no_grad()
def test_current_frames_are_detected_on_propagated_features(model):
    key_frame, current = frames(2).split(1)
    _, key = model.predict_key(key_frame, samples(1))
    features = model.propagate(key_frame, current, model.spatial.features(key_frame), samples(1))
    assert not torch.allclose(features[0], key.features[0], atol=0.1)
    assert torch.equal(model(key_frame)[0], key.features[0])
    by_mode, by_key = (
        model(current, samples(1), mode='predict'),
        model.predict_key(current, samples(1)),
    )
    assert_same(by_mode, by_key[0])
    expected = model.spatial.predict(features, samples(1))
    assert_same(model.predict_non_key(current, samples(1), key), expected)


def test_still_pairs_in_a_batch_keep_the_others_propagated(model):
    key, current = frames(2), frames(2, seed=1)
    features = model.spatial.features(key)
    mixed = model.propagate(key, current, features, samples(1, same=True) + samples(1))
    moved = model.propagate(key, current, features, samples(2))
    assert torch.equal(mixed[0][0], features[0][0]) and torch.equal(mixed[0][1], moved[0][1])


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


@torch.no_grad()
def test_wrapping_any_detector():
    detector = tiny_rfcn().eval()
    before = {n: p.requires_grad for n, p in detector.named_parameters()}
    model = VideoDetector.wrap(detector).eval()
    assert not model.has_temporal
    assert {n: p.requires_grad for n, p in detector.named_parameters()} == before
    results, key = model.predict_key(frames(1), samples(1))
    assert_same(results, detector.predict(frames(1), samples(1)))
    assert key.image is None and key.features[0].shape == (1, 32, 4, 6)


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
    trained = Path(checkpoint).with_name('two.pth')  # of a video detector
    torch.save(model.state_dict(), trained)
    found = named(config, str(trained)).spatial.state_dict()
    assert all(torch.equal(v, found[k]) for k, v in model.spatial.state_dict().items())


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


def test_a_head_that_is_cut_learns_nothing_with_the_temporal_module():
    detector = build_stock('reppoints/reppoints-moment_r50_fpn_1x_coco', narrow=True)
    model = VideoDetector(detector, LIGHT, split=dict(type='TowerSplit'), trainable=['temporal'])
    learns = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert learns and all(name.startswith('temporal.') for name in learns)


# --- settings that follow from the detector -------------------------------------------------------


NORMALIZATION = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)


def config(kind: str, model: str = 'SemiDFF', **temporal) -> dict:
    """A video detector that says nothing about what its detector says."""
    detector = dict(
        models.KINDS[kind][0](),
        data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32, **NORMALIZATION),
    )
    flow_network = dict(type='FlowNetS', width=1 / 8)
    parts = dict(dict(type='TemporalModule', flow_network=flow_network), **temporal)
    return dict(type=model, detector=detector, temporal=parts)


@pytest.mark.parametrize('kind', models.KINDS)
def test_channels_strides_and_input_scale_follow_from_the_detector(kind):
    _, channels, strides = models.KINDS[kind]
    temporal = models.build(config(kind)).temporal
    assert temporal.field_channels == (channels,)
    assert temporal.feat_strides == strides
    assert temporal.flow_network.input_scale == pytest.approx(57.63 / 255, rel=1e-3)


def test_a_built_detector_gives_its_preprocessor_for_pairs():
    settings = config('retinanet')
    augments = [dict(type='BatchSyncRandomResize', random_size_range=(32, 64))]
    settings['detector']['data_preprocessor']['batch_augments'] = augments
    detector = MODELS.build(settings['detector'])
    model = models.build(dict(settings, detector=detector))
    pair = torch.randint(0, 256, (2, 3, 50, 90), dtype=torch.uint8)
    data = model.data_preprocessor(dict(inputs=[pair], data_samples=models.samples(1)), True)
    assert data['inputs'].shape == (1, 2, 3, 64, 96)
    frame = detector.data_preprocessor(dict(inputs=[pair[1]], data_samples=None), False)
    assert torch.equal(data['inputs'][:, 1], frame['inputs'])
    assert type(detector.data_preprocessor) is DetDataPreprocessor


def test_the_probe_leaves_no_trace():
    config_of = config('retinanet')
    torch.manual_seed(0)
    probed = models.build(config_of)
    typed = models.build(config('retinanet', feat_channels=16, feat_strides=(8, 16, 32)))
    assert all(
        torch.equal(value, typed.state_dict()[key]) for key, value in probed.state_dict().items()
    )
    modes = [module.training for module in probed.modules()]
    assert modes == [module.training for module in typed.modules()]


@pytest.mark.parametrize('rgb', [False, True])
def test_optical_flow_inherits_the_normalization(rgb):
    cfg = config('retinanet', flow_network=dict(type='OpenCVFlow'), with_scale=False)
    cfg['type'] = 'VideoDetector'
    cfg['detector']['data_preprocessor'].update(
        mean=[103.5, 116.3, 123.7], std=[57.4, 57.1, 58.4], bgr_to_rgb=rgb
    )
    model = models.build(cfg)
    frame = torch.zeros(3, 32, 64, dtype=torch.uint8)
    frame[0] = 255  # blue
    data = model.data_preprocessor(dict(inputs=[frame], data_samples=None), False)
    assert model.temporal.prepare(data['inputs']).unique().tolist() == [29]  # 0.114 * 255


@pytest.mark.parametrize('trainable', [('temporal',), ('temporal', 'task_network')])
def test_parts_that_do_not_learn_keep_their_batch_norm_statistics(trainable):
    broken = config('retinanet', 'VideoDetector')
    broken['detector']['backbone']['norm_eval'] = False
    model = models.build(ConfigDict(dict(broken, trainable=trainable))).train()
    before = {k: v.clone() for k, v in model.spatial.state_dict().items() if 'running' in k}
    model.loss(torch.rand(2, 2, 3, *models.SIZE), models.samples(2, boxes=True))
    after = model.spatial.state_dict()
    assert before and all(torch.equal(value, after[key]) for key, value in before.items())
    assert model.temporal.training
