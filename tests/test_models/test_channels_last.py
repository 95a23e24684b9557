"""Channels-last weights give the results of contiguous ones, whatever operators a detector is made of."""

import logging
from pathlib import Path

import mmdet
import pytest
import torch
from mmcv.cnn import build_conv_layer
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from torch import Tensor

from semidff.models.precision import to_channels_last

# Stock configs with operators of mmcv: as modules, in the backbone, the neck and the head, and as functions.
CONFIGS = (
    'dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco.py',
    'dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py',
    'dyhead/atss_r50_fpn_dyhead_1x_coco.py',
    'centernet/centernet_r18-dcnv2_8xb16-crop512-140e_coco.py',
    'vfnet/vfnet_r50_fpn_1x_coco.py',
    'reppoints/reppoints-moment_r50_fpn_1x_coco.py',
    'tood/tood_r50_fpn_1x_coco.py',
    'gn+ws/faster-rcnn_r50_fpn_gn-ws-all_1x_coco.py',
    'retinanet/retinanet_r18_fpn_1x_coco.py',
)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.split('/')[0])
def test_stock_detectors_compute_the_same(path):
    init_default_scope('mmdet')
    config = Config.fromfile(Path(mmdet.__file__).parent / '.mim' / 'configs' / path).model
    config.backbone.pop('init_cfg', None)
    torch.manual_seed(0)
    model = MODELS.build(config).eval()
    logging.getLogger('mmengine').setLevel(logging.WARNING)
    for name, parameter in model.named_parameters():
        if 'conv_offset' in name:  # they start at 0, where nothing is deformed
            torch.nn.init.normal_(parameter, std=0.02)
    images = torch.randn(1, 3, 128, 160)
    with torch.no_grad():
        before = maps_of(outputs(model, images))
        for _ in range(2):
            to_channels_last(model)
        after = maps_of(outputs(model, images))
    assert len(before) == len(after)
    for reference, found in zip(before, after, strict=True):
        scale = reference.abs().max()
        assert (reference - found).abs().max() <= 1e-4 * scale + 1e-6
    if 'centernet' in path:  # its post-processing calls `view`
        assert all(found.is_contiguous() for found in after[-3:])


@pytest.mark.parametrize('kind', ['ConvWS', 'ConvAWS'])
def test_weight_standardization(kind):
    torch.manual_seed(0)
    layer = build_conv_layer(dict(type=kind), 8, 8, 3)
    images = torch.randn(1, 8, 16, 16)
    expected = layer(images)
    to_channels_last(layer)
    found = layer(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ('kind', 'settings'), [('CornerHead', dict(corner_emb_channels=1)), ('CentripetalHead', {})]
)
def test_post_processing_of_corners(kind, settings):
    test_cfg = dict(
        corner_topk=40,
        local_maximum_kernel=3,
        distance_threshold=0.5,
        score_thr=0.05,
        max_per_img=20,
        nms=dict(type='soft_nms', iou_threshold=0.5, method='gaussian'),
    )
    init_default_scope('mmdet')
    torch.manual_seed(0)
    head = MODELS.build(
        ConfigDict(
            type=kind,
            num_classes=2,
            in_channels=8,
            num_feat_levels=1,
            test_cfg=test_cfg,
            **settings,
        )
    ).eval()
    meta = dict(batch_input_shape=(64, 64), border=[0, 64, 0, 64], scale_factor=(1.0, 1.0))
    sample, maps = DetDataSample(metainfo=dict(meta, img_shape=(64, 64))), torch.randn(1, 8, 16, 16)
    with torch.no_grad():
        expected = head.predict((maps,), [sample])[0]
        to_channels_last(head)
        found = head.predict((maps.to(memory_format=torch.channels_last),), [sample])[0]
    assert len(found) == len(expected)
    assert len(found) or kind == 'CentripetalHead'  # random shifts meet in no center
    assert torch.allclose(found.bboxes, expected.bboxes, atol=1e-3)


def outputs(model, images):
    features = model.extract_feat(images)
    head = model.rpn_head if hasattr(model, 'rpn_head') else model.bbox_head
    return features, head(features)


def maps_of(value) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [found for item in value or () for found in maps_of(item)]


def test_the_grid_head_of_grid_rcnn():
    init_default_scope('mmdet')
    torch.manual_seed(0)
    head = MODELS.build(dict(type='GridHead', num_convs=1, in_channels=8)).eval()
    images = torch.randn(1, 8, 14, 14)
    with torch.no_grad():
        expected = head(images)['fused']
        to_channels_last(head)
        found = head(images.contiguous(memory_format=torch.channels_last))['fused']
    torch.testing.assert_close(found, expected)
