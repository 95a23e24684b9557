"""Settings of a video detector that follow from its image detector."""

import pytest
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.hub import get_config

from tests import models

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
def test_frames_are_normalized_as_the_detector_normalizes_them(kind):
    model = models.build(config(kind))
    frame = torch.randint(0, 256, (3, 50, 90), dtype=torch.uint8)
    data = model.data_preprocessor(dict(inputs=[frame], data_samples=None), False)
    reference = model.spatial.detector.data_preprocessor(
        dict(inputs=[frame], data_samples=None), False
    )
    assert torch.equal(data['inputs'], reference['inputs'])
    assert data['inputs'].shape == (1, 3, 64, 96)


@pytest.mark.parametrize('kind', models.KINDS)
def test_channels_strides_and_input_scale_follow_from_the_detector(kind):
    _, channels, strides = models.KINDS[kind]
    temporal = models.build(config(kind)).temporal
    assert temporal.field_channels == (channels,)
    assert temporal.feat_strides == strides
    assert temporal.flow_network.input_scale == pytest.approx(57.63 / 255, rel=1e-3)


def test_a_typed_preprocessor_of_images_takes_pairs():
    settings = dict(type='DetDataPreprocessor', pad_size_divisor=32, **NORMALIZATION)
    model = models.build(dict(config('retinanet'), data_preprocessor=settings))
    pair = torch.randint(0, 256, (2, 3, 50, 90), dtype=torch.uint8)
    data = model.data_preprocessor(dict(inputs=[pair], data_samples=models.samples(1)), True)
    assert data['inputs'].shape == (1, 2, 3, 64, 96)


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


def test_the_type_of_a_preprocessor_may_be_a_class():
    cfg = config('retinanet')
    cfg['detector']['data_preprocessor']['type'] = DetDataPreprocessor
    assert models.build(cfg).data_preprocessor.mean.flatten().tolist() == pytest.approx(
        NORMALIZATION['mean']
    )


@pytest.mark.parametrize(
    ('detector', 'message'),
    [
        (dict(type='ResNet', depth=18), 'ResNet is no detector: give one'),
        (
            dict(
                type='FastRCNN',
                backbone=dict(type='ResNet', depth=18),
                roi_head=models.faster_rcnn()['roi_head'],
                train_cfg=models.faster_rcnn()['train_cfg'],
                test_cfg=models.faster_rcnn()['test_cfg'],
            ),
            'FastRCNN needs proposals from a file',
        ),
    ],
)
def test_what_is_no_detector_is_refused(detector, message):
    with pytest.raises(TypeError, match=message):
        models.build(dict(type='VideoDetector', detector=detector))


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


def test_semi_supervised_detectors_are_refused():
    inner = dict(models.retinanet(), data_preprocessor=dict(type='DetDataPreprocessor'))
    detector = dict(
        type='SemiBaseDetector',
        detector=inner,
        semi_train_cfg=dict(freeze_teacher=True),
        data_preprocessor=dict(
            type='MultiBranchDataPreprocessor', data_preprocessor=dict(type='DetDataPreprocessor')
        ),
    )
    with pytest.raises(TypeError, match='SemiBaseDetector holds .*give its inner detector'):
        models.build(dict(type='VideoDetector', detector=detector))


@pytest.mark.parametrize(
    'name',
    ['panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco', 'maskformer/maskformer_r50_ms-16xb1-75e_coco'],
)
def test_panoptic_segmentation_is_refused(name):
    detector = get_config(f'mmdet::{name}.py').model
    detector.backbone.pop('init_cfg')
    with pytest.raises(TypeError, match='predicts panoptic segmentation alone: give a detector'):
        models.build(dict(type='VideoDetector', detector=detector))


def test_levels_of_different_channels_have_a_scale_field_each():
    levels = [torch.rand(1, 4, 4, 6), torch.rand(1, 8, 2, 3)]
    temporal = models.build(
        dict(
            type='TemporalModule',
            flow_network=dict(type='FlowNetS', width=1 / 8),
            feat_channels=(4, 8),
            feat_strides=(16, 32),
        )
    )
    assert temporal.scale.out_channels == 12
    with torch.no_grad():
        temporal.scale.bias[:4], temporal.scale.bias[4:] = 2.0, 3.0
        found = temporal.propagate(
            levels,
            torch.zeros(1, 2, 4, 6),
            temporal.scale.bias.view(1, 12, 1, 1).expand(1, 12, 4, 6),
        )
    assert torch.equal(found[0], 2 * levels[0]) and torch.equal(found[1], 3 * levels[1])


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
