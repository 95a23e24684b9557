"""Test pipelines at smaller input sizes."""

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import init_default_scope

from semidff.inference.loading import frame_pipeline


@pytest.mark.parametrize(
    ('resize', 'size'),
    [
        (dict(scale=(40, 80), keep_ratio=False), (40, 20)),
        (dict(scale=40, keep_ratio=False), (20, 20)),
        (dict(scale_factor=0.5), (12, 24)),
        (dict(scale_factor=(0.5, 1.0)), (24, 24)),
        (dict(type='FixShapeResize', width=40, height=80), (40, 20)),
    ],
)
def test_half_of_the_input_size(resize, size):
    init_default_scope('mmdet')
    steps = [dict(type='LoadImageFromFile'), dict(dict(type='Resize'), **resize)]
    steps.append(dict(type='PackDetInputs', meta_keys=()))
    config = Config(dict(test_dataloader=dict(dataset=dict(pipeline=steps))))
    packed = frame_pipeline(config, scale=0.5)(dict(img=np.zeros((48, 96, 3), np.uint8)))
    assert packed['inputs'].shape[1:] == size


def test_boxes_on_smaller_frames_are_in_pixels_of_the_original():
    """CenterNet's stock pipeline does not resize, and its data samples have no scale factor."""
    init_default_scope('mmdet')
    config = get_config('mmdet::centernet/centernet_r18_8xb16-crop512-140e_coco.py')
    packed = frame_pipeline(config, scale=0.5)(dict(img=np.zeros((64, 96, 3), np.uint8)))
    assert packed['data_samples'].scale_factor == (0.5, 0.5)


def test_the_pipeline_inside_of_other_data_sets():
    init_default_scope('mmdet')
    steps = [dict(type='LoadImageFromFile'), dict(type='PackDetInputs', meta_keys=())]
    dataset = dict(type='RepeatDataset', times=2, dataset=dict(pipeline=steps))
    for wrapper in (dataset, dict(type='ConcatDataset', datasets=[dataset, dict(type='Other')])):
        pipeline = frame_pipeline(Config(dict(test_dataloader=dict(dataset=wrapper))))
        assert pipeline(dict(img=np.zeros((4, 6, 3), np.uint8)))['inputs'].shape == (3, 4, 6)


def test_no_labels_are_loaded():
    config = get_config('mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py')
    packed = frame_pipeline(config)(dict(img=np.zeros((48, 96, 3), np.uint8)))
    assert packed['inputs'].shape[0] == 3


def test_test_time_augmentation_is_refused():
    steps = [dict(type='LoadImageFromFile'), dict(type='TestTimeAug', transforms=[])]
    config = Config(dict(test_dataloader=dict(dataset=dict(pipeline=steps))))
    with pytest.raises(ValueError, match='has TestTimeAug, but frames are predicted once'):
        frame_pipeline(config)


def test_grayscale_detectors_are_refused():
    steps = [dict(type='LoadImageFromFile', color_type='grayscale')]
    config = Config(dict(test_dataloader=dict(dataset=dict(pipeline=steps))))
    with pytest.raises(ValueError, match="color_type='grayscale', but frames have three channels"):
        frame_pipeline(config)
