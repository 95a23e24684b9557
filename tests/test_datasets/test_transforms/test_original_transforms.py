"""Resizing and mirroring as the original does them."""

import numpy as np
import pytest
from mmcv.transforms import TransformBroadcaster
from mmdet.datasets.transforms import Resize
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.utils import register_all_modules

from semidff.datasets import OriginalFlip, OriginalResize

register_all_modules(init_default_scope=True)


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def results(*boxes, height: int = 60, width: int = 100) -> dict:
    return dict(img=image(height, width), gt_bboxes=HorizontalBoxes(np.float32(boxes)))


@pytest.mark.parametrize(
    'size,expected,factor',
    [
        ((72, 128), (56, 100), 100 / 128),  # 56.25
        ((37, 50), (60, 81), 60 / 37),  # 81.08
        ((60, 100), (60, 100), 1),
        ((58, 96), (60, 99), 60 / 58),  # 99.31
        ((100, 60), (100, 60), 1),
        ((24, 41), (59, 100), 100 / 41),  # 58.54
        ((60, 101), (59, 100), 100 / 101),  # 59.41: the long side would be 101
    ],
)
def test_sizes(size, expected, factor):
    resized = OriginalResize((100, 60)).transform(dict(img=image(*size)))
    assert resized['scale_factor'] == (factor, factor)
    assert resized['img_shape'] == resized['img'].shape[:2] == expected


def test_halves_are_rounded_to_even():
    """The one size of everyday video where mmdet differs: 720 x 0.78125 = 562.5."""
    frame = dict(img=np.zeros((720, 1280, 3), np.uint8))
    assert OriginalResize((1000, 600)).transform(dict(frame))['img_shape'] == (562, 1000)
    theirs = Resize(scale=(1000, 600), keep_ratio=True).transform(dict(frame))
    assert theirs['img_shape'] == (563, 1000)


def test_boxes_are_multiplied_by_the_one_factor():
    resized = OriginalResize((50, 20)).transform(results([10, 10, 99, 59]))
    assert resized['gt_bboxes'].tensor.tolist() == [
        pytest.approx([10 / 3, 10 / 3, 33, 59 / 3], rel=1e-6)
    ]


def test_mirroring():
    given = results([10, 5, 19, 9], [0, 0, 99, 59])
    mirrored = OriginalFlip(prob=1.0).transform(dict(given, img=given['img'].copy()))
    assert (mirrored['img'] == given['img'][:, ::-1]).all()
    assert mirrored['gt_bboxes'].tensor.tolist() == [[80, 5, 89, 9], [0, 0, 99, 59]]


@pytest.mark.parametrize('prob', [0.0, 1.0])
def test_boxes_are_cut_at_the_last_pixel(prob):
    flipped = OriginalFlip(prob=prob).transform(results([0, 0, 100, 60]))
    assert flipped['gt_bboxes'].tensor.tolist() == [[0, 0, 99, 59]]


def test_frames_without_boxes():
    assert OriginalFlip(prob=1.0).transform(dict(img=image(6, 8)))['img'].shape == (6, 8, 3)


def test_pairs_are_prepared_alike():
    """Both frames are mirrored or neither is; only the current frame has boxes."""
    pipeline = TransformBroadcaster(
        [dict(type='OriginalFlip', prob=0.5), dict(type='OriginalResize', scale=(50, 30))],
        share_random_params=True,
    )
    mirrored = 0
    for seed in range(8):
        np.random.seed(seed)
        boxes = HorizontalBoxes(np.float32([[10, 10, 19, 19]]))
        frames = [image(60, 100), image(60, 100)]
        pair = pipeline(
            dict(img=frames, gt_bboxes=[HorizontalBoxes(np.zeros((0, 4), np.float32)), boxes])
        )
        assert (pair['img'][0] == pair['img'][1]).all()
        mirrored += pair['flip'][1]
        left = 80 if pair['flip'][1] else 10
        assert pair['gt_bboxes'][1].tensor[0, 0] == left / 2
    assert 0 < mirrored < 8
