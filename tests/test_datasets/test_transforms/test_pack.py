"""A pair through mmdet's transforms, and packing of pairs and of frames."""

import numpy as np
import torch
from mmdet.registry import TRANSFORMS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.utils import register_all_modules

from semidff.datasets import PackFramePair, PackVideoFrame

register_all_modules(init_default_scope=True)


def pair(second=None):
    """Two frames that differ by a constant, as UnlabeledVideoDataset gives them."""
    key = np.random.default_rng(0).integers(0, 200, (72, 96, 3), dtype=np.uint8)
    current = key + 20 if second is None else second
    return {
        'img': [key, current],
        'img_shape': [key.shape[:2], current.shape[:2]],
        'ori_shape': [key.shape[:2], current.shape[:2]],
        'img_path': ['v.mp4#000003', 'v.mp4#000008'],
        'frame_id': [3, 8],
        'video_name': ['v.mp4', 'v.mp4'],
        'video_length': [50, 50],
    }


def test_packed_pair():
    packed = PackFramePair()(pair())
    inputs, sample = packed['inputs'], packed['data_samples']
    assert inputs.shape == (2, 3, 72, 96) and inputs.dtype == torch.uint8
    assert inputs.is_contiguous() and (inputs[1] - inputs[0] == 20).all()
    assert (inputs[0].permute(1, 2, 0).numpy() == pair()['img'][0]).all()
    assert isinstance(sample, DetDataSample) and len(sample.gt_instances) == 0
    assert sample.metainfo == {
        'img_path': 'v.mp4#000008',
        'ori_shape': (72, 96),
        'img_shape': (72, 96),
        'video_name': 'v.mp4',
        'video_length': 50,
        'frame_id': 8,
        'key_frame_id': 3,
    }


def test_boxes_of_the_current_frame_are_packed():
    results = pair()
    boxes = HorizontalBoxes(torch.tensor([[4.0, 4, 20, 20], [8, 8, 30, 40]]))
    results['gt_bboxes'] = [boxes[:1].clone(), boxes.clone()]
    results['gt_bboxes_labels'] = [np.array([0]), np.array([1, 2])]
    results['gt_ignore_flags'] = [np.array([False]), np.array([False, True])]
    flip = dict(type='RandomFlip', prob=1.0, direction='horizontal')
    broadcast = dict(type='TransformBroadcaster', share_random_params=True, transforms=[flip])
    sample = PackFramePair()(TRANSFORMS.build(broadcast)(results))['data_samples']
    assert sample.gt_instances.bboxes.tensor.tolist() == [[76, 4, 92, 20]]
    assert sample.gt_instances.labels.tolist() == [1]
    assert sample.ignored_instances.labels.tolist() == [2]


def test_sample_of_mmdet_with_the_place_in_the_video():
    picture = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    own = dict(img_path='a.jpg', ori_shape=(6, 8), img_shape=(6, 8), border=(1, 5, 2, 6))
    place = dict(video_id=3, frame_id=0, video_name='v', video_length=5, is_labeled=False)
    frame = dict(own, **place, img=picture, gt_bboxes_labels=np.array([1]))
    packed = PackVideoFrame()(dict(frame))
    theirs = TRANSFORMS.build(dict(type='PackDetInputs', meta_keys=tuple(own)))(dict(frame))
    assert torch.equal(packed['inputs'], theirs['inputs'])
    sample = packed['data_samples']
    assert sample.gt_instances.labels.tolist() == [1]
    assert sample.metainfo == own | place  # what is missing, as img_id, is left out
