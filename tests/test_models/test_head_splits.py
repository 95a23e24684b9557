"""Split points inside the heads of stock detectors."""

import logging

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from semidff.models import SpatialModule, VideoDetector
from semidff.models.spatial import OutputSplit, TowerSplit
from tests.models import build, faster_rcnn, fcos, frames, retinanet, samples, video_config

TOWERS = {
    'retinanet/retinanet_r18_fpn_1x_coco.py': 256 * 2,
    'atss/atss_r50_fpn_1x_coco.py': 256 * 2,
    'gfl/gfl_r50_fpn_1x_coco.py': 256 * 2,
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py': 256 * 2,
    'vfnet/vfnet_r50_fpn_1x_coco.py': 256 * 2,
    'rtmdet/rtmdet_tiny_8xb32-300e_coco.py': 96 * 2,
    'yolox/yolox_tiny_8xb8-300e_coco.py': 96 * 2,
    'yolof/yolof_r50-c5_8xb8-1x_coco.py': 512 * 2,
}
OUTPUTS = {
    'retinanet/retinanet_r18_fpn_1x_coco.py': [9 * 84] * 5,
    'gfl/gfl_r50_fpn_1x_coco.py': [80 + 4 * 17] * 5,
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py': [80 + 4 + 1] * 5,
    'tood/tood_r50_fpn_1x_coco.py': [84] * 5,
    'rtmdet/rtmdet_tiny_8xb32-300e_coco.py': [84] * 3,
    'yolox/yolox_tiny_8xb8-300e_coco.py': [85] * 3,
    'yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py': [3 * 85] * 3,
    'ssd/ssd300_coco.py': [n * 85 for n in (4, 6, 6, 6, 4, 4)],
    'centernet/centernet_r18_8xb16-crop512-140e_coco.py': [84],
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py': [15] * 5 + [256] * 4,
}


def stock(path: str) -> torch.nn.Module:
    init_default_scope('mmdet')
    config = Config.fromfile(Config._get_cfg_path(f'mmdet::{path}', '')[0]).model
    for part in (config, config.backbone):
        part.pop('init_cfg', None)
    if 'roi_head' in config:
        config.test_cfg.rcnn.score_thr = 0.0
    if 'ssd' in path:
        config.test_cfg.score_thr = 0.0
    torch.manual_seed(0)
    model = MODELS.build(config).eval()
    logging.getLogger('mmengine').setLevel(logging.WARNING)
    heads = [m for n, m in model.named_modules() if n.startswith(('bbox_head', 'rpn_head'))]
    for module in heads:
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.normal_(module.weight, std=0.02)
    return model


def check(detector, split, channels):
    size = (300, 300) if type(detector).__name__ == 'SingleStageDetector' else (128, 160)
    number = 2 if type(detector).__name__ == 'VFNet' else 1  # mmcv's operators need dense maps
    images = torch.randn((number, 3, *size), generator=torch.Generator().manual_seed(0))
    meta = samples(number)
    for sample in meta:
        sample.set_metainfo(dict(border=[0, size[0], 0, size[1]]))  # CenterNet's
        for name in ('img_shape', 'ori_shape', 'batch_input_shape', 'pad_shape'):
            sample.set_metainfo({name: size})
    spatial = SpatialModule(detector, split)
    expected = detector.predict(images, [sample.clone() for sample in meta])
    features = spatial.features(images)
    assert [level.shape[1] for level in features] == channels
    features = tuple(level.clone() for level in features)
    for module in spatial.feature_network:  # N_task does not call them
        module.forward = None
    found = spatial.predict(features, [sample.clone() for sample in meta])
    for one, other in zip(found, expected, strict=True):
        assert len(other.pred_instances) > 0
        for key in ('bboxes', 'scores', 'labels'):
            a, b = one.pred_instances[key], other.pred_instances[key]
            # TOOD's corners are converted to distances from the cell and back, its probabilities to logits.
            tolerant = type(detector).__name__ == 'TOOD'
            assert torch.allclose(a, b, atol=1e-4) if tolerant else torch.equal(a, b)


@pytest.mark.parametrize('path', TOWERS, ids=lambda path: path.split('/')[0])
@torch.no_grad()
def test_towers_of_stock_detectors(path):
    detector = stock(path)
    levels = 1 if 'yolof' in path else 3 if path.startswith(('rtmdet', 'yolox')) else 5
    check(detector, TowerSplit(), [TOWERS[path]] * levels)


@pytest.mark.parametrize('path', OUTPUTS, ids=lambda path: path.split('/')[0])
@torch.no_grad()
def test_outputs_of_stock_detectors(path):
    check(stock(path), OutputSplit(), OUTPUTS[path])


@pytest.mark.parametrize(
    ('path', 'name'),
    [
        ('tood/tood_r50_fpn_1x_coco.py', 'cls_scores'),
        ('centernet/centernet_r18_8xb16-crop512-140e_coco.py', 'center_heatmap_preds'),
    ],
)
@torch.no_grad()
def test_scaled_probabilities_remain_probabilities(path, name):
    """A scale field above 1 would otherwise give scores above 1, and no gradient to the semantic loss."""
    spatial = SpatialModule(stock(path), OutputSplit())
    (sample,) = samples(1)
    size = dict.fromkeys(('img_shape', 'ori_shape', 'batch_input_shape'), (128, 160))
    sample.set_metainfo(dict(size, border=[0, 128, 0, 160]))
    raw = spatial.raw_outputs(spatial.features(torch.randn((1, 3, 128, 160))))
    scaled = {key: 30 * maps.abs() if key.startswith(name) else maps for key, maps in raw.items()}
    (found,) = spatial.predict_raw(scaled, [sample])
    scores = found.pred_instances.scores
    assert len(scores) and scores.min() >= 0 and scores.max() <= 1


@torch.no_grad()
def test_boxes_move_with_warped_outputs():
    """A shift of the maps by whole cells of all levels moves the boxes by as many pixels."""
    detector = stock('retinanet/retinanet_r18_fpn_1x_coco.py')
    size = 256, 512
    images = torch.randn((1, 3, *size), generator=torch.Generator().manual_seed(0))
    meta = dict(
        img_shape=(2000, 2000), ori_shape=size, batch_input_shape=size, scale_factor=(1.0, 1.0)
    )
    (sample,) = samples(1)
    sample.set_metainfo(meta)
    temporal = video_config()['temporal'] | dict(
        feat_channels=[9 * 84] * 5, feat_strides=[8, 16, 32, 64, 128], with_scale=False
    )
    model = VideoDetector(detector, temporal, OutputSplit())
    spatial = model.spatial
    flow = torch.zeros(1, 2, 16, 32)
    flow[:, 0] = 128 / 16  # what is 128 pixels to the right moves here
    features = spatial.features(images)
    moved = model.temporal.propagate(features, flow, None)
    before = spatial.predict(features, [sample.clone()])[0].pred_instances
    after = spatial.predict(moved, [sample.clone()])[0].pred_instances
    assert len(before) and len(after)
    shifted = before.bboxes - before.bboxes.new_tensor([128, 0, 128, 0])
    inside = shifted[:, 0] > 64
    found = (shifted[inside, None] - after.bboxes).abs().amax(2).min(1).values
    assert inside.sum() > 3 and (found < 1e-2).float().mean() > 0.9


def test_detectors_without_such_outputs_are_refused():
    with pytest.raises(TypeError, match='TowerSplit cuts dense heads.*FasterRCNN with RPNHead'):
        SpatialModule(build(faster_rcnn()), TowerSplit())


def test_towers_of_different_widths_are_refused():
    head = dict(
        type='FoveaHead',
        num_classes=2,
        in_channels=16,
        feat_channels=16,
        stacked_convs=1,
        strides=[8, 16, 32],
        base_edge_list=[16, 32, 64],
        scale_ranges=((1, 32), (16, 64), (32, 128)),
        with_deform=True,
    )
    detector = build(dict(retinanet(), type='FOVEA', bbox_head=head, train_cfg=None))
    with pytest.raises(TypeError, match='FoveaHead reads more than the outputs of its towers'):
        SpatialModule(detector, TowerSplit())


def test_heads_without_layers_after_their_towers_are_refused():
    """With three classes, the two outputs of SSD have as many channels as if they were towers."""
    sizes = dict(input_size=300, basesize_ratio_range=(0.15, 0.9), strides=[8, 16, 32])
    anchors = dict(type='SSDAnchorGenerator', scale_major=False, ratios=[[2]] * 3, **sizes)
    config = dict(retinanet(), type='SingleStageDetector')
    config['bbox_head'] = dict(
        type='SSDHead', num_classes=3, in_channels=[16] * 3, anchor_generator=anchors
    )
    with pytest.raises(TypeError, match='SSDHead has no layers after'):
        SpatialModule(build(config), TowerSplit())


def test_settings_of_non_key_frames():
    config = video_config('faster_rcnn', 'VideoDetector', split=dict(type='OutputSplit'))
    config['temporal'].pop('feat_channels'), config['temporal'].pop('feat_strides')
    model = build(dict(config, non_key_test_cfg=dict(rpn=dict(max_per_img=3)))).eval()
    with torch.no_grad():
        results, key = model.predict_key(frames(1), samples(1))
        fewer = model.predict_non_key(frames(1), samples(1), key)
        again = model.predict_key(frames(1), samples(1))[0]
    assert len(fewer[0].pred_instances) < len(results[0].pred_instances)
    assert len(again[0].pred_instances) == len(results[0].pred_instances)


def test_outputs_that_differ_in_training_are_refused():
    spatial = SpatialModule(stock('vfnet/vfnet_r50_fpn_1x_coco.py'), OutputSplit()).train()
    with pytest.raises(TypeError, match='VFNetHead returns other outputs in training'):
        spatial.features(torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize('normalized', [False, True])
def test_outputs_in_other_units_in_training_are_refused(normalized):
    """In pixels in tests and, with normalized boxes, in strides in training."""
    config = fcos()
    config['bbox_head']['norm_on_bbox'] = normalized
    spatial = SpatialModule(build(config), OutputSplit()).train()
    if normalized:
        with pytest.raises(TypeError, match='FCOSHead returns other outputs in training'):
            spatial.features(frames(1))
    else:
        spatial.features(frames(1))
