"""Test pipelines for frames in memory."""

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import init_default_scope

from semidff.inference.loading import frame_pipeline

LOAD, PACK = dict(type='LoadImageFromFile'), dict(type='PackDetInputs', meta_keys=())


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmdet')


def packed(config: Config | dict, height: int = 48, **options) -> dict:
    if not isinstance(config, Config):
        config = Config(dict(test_dataloader=dict(dataset=config)))
    return frame_pipeline(config, **options)(dict(img=np.zeros((height, 96, 3), np.uint8)))


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
    dataset = dict(pipeline=[LOAD, dict(dict(type='Resize'), **resize), PACK])
    assert packed(dataset, scale=0.5)['inputs'].shape[1:] == size


def test_boxes_on_smaller_frames_are_in_pixels_of_the_original():
    """CenterNet's stock pipeline does not resize, and its data samples have no scale factor."""
    config = get_config('mmdet::centernet/centernet_r18_8xb16-crop512-140e_coco.py')
    assert packed(config, 64, scale=0.5)['data_samples'].scale_factor == (0.5, 0.5)


def test_the_pipeline_inside_of_other_data_sets():
    dataset = dict(type='RepeatDataset', times=2, dataset=dict(pipeline=[LOAD, PACK]))
    for wrapper in (dataset, dict(type='ConcatDataset', datasets=[dataset, dict(type='Other')])):
        assert packed(wrapper)['inputs'].shape == (3, 48, 96)


def test_no_labels_are_loaded():
    config = get_config('mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py')
    assert packed(config)['inputs'].shape[0] == 3


@pytest.mark.parametrize(
    ('steps', 'message'),
    [
        ([LOAD, dict(type='TestTimeAug', transforms=[])], 'without TestTimeAug'),
        ([dict(LOAD, color_type='grayscale')], "color_type='grayscale', but frames have three"),
    ],
)
def test_pipelines_that_frames_cannot_have(steps, message):
    with pytest.raises(ValueError, match=message):
        packed(dict(pipeline=steps))
