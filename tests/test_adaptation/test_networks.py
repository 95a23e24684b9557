"""The model of a split point and a temporal module."""

import pytest

from semidff.adaptation.config import detector_config, model_config
from semidff.adaptation.folder import Network


@pytest.mark.parametrize(
    'split, proposals',
    [('ExtractFeatSplit', None), ('OutputSplit', dict(rpn=dict(max_per_img=100)))],
)
def test_few_proposals_where_only_the_second_stage_is_left(split, proposals):
    own = detector_config('faster-rcnn_r50_fpn_1x_coco')
    networks = Network(split)
    config = model_config(own, 'one.pth', networks, 'VideoDetector')
    assert config['non_key_test_cfg'] == proposals
    own.model.test_cfg.rpn.max_per_img = 60
    config = model_config(own, 'one.pth', networks, 'VideoDetector')
    assert config['non_key_test_cfg'] is None


@pytest.mark.parametrize(
    'name, split, settings',
    [
        ('yolox_tiny_8xb8-300e_coco', 'OutputSplit', dict(nms=dict(iou_threshold=0.55))),
        ('yolox_tiny_8xb8-300e_coco', 'TowerSplit', None),
        ('retinanet_r50_fpn_1x_coco', 'OutputSplit', None),
        ('dino-4scale_r50_8xb2-12e_coco', 'OutputSplit', None),
    ],
)
def test_warped_boxes_of_an_object_are_suppressed_sooner(name, split, settings):
    config = model_config(detector_config(name), '', Network(split), 'VideoDetector')
    assert config['non_key_test_cfg'] == settings


def test_a_temporal_module_has_a_scale_field_or_a_correction():
    own = detector_config('retinanet_r50_fpn_1x_coco')
    for width in (0, 64):
        networks = Network('OutputSplit', correction_width=width)
        temporal = model_config(own, '', networks, 'SemiDFF')['temporal']
        assert temporal['with_scale'] == (not width) and temporal['shared_classes']


@pytest.mark.parametrize('downsampling, stride', [(2, 8), (4, 16)])
def test_flow_on_smaller_frames_is_coarser(downsampling, stride):
    own = detector_config('retinanet_r50_fpn_1x_coco')
    networks = Network('TowerSplit', downsampling, flow_stride=8)
    network = model_config(own, '', networks, 'SemiDFF')['temporal']['flow_network']
    assert (network['downsampling'], network['stride']) == (downsampling, stride)
