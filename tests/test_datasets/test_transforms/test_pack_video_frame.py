"""Packing of single frames of a video."""

import numpy as np
import torch
from mmdet.registry import TRANSFORMS
from mmdet.utils import register_all_modules

from semidff.datasets.transforms.pack_video_frame import PackVideoFrame

register_all_modules(init_default_scope=True)


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
