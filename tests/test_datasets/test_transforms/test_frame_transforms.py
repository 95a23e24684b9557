"""Resizing and mirroring as the original does them, and crops."""

import numpy as np
import pytest
from mmcv.transforms import TransformBroadcaster
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.utils import register_all_modules

from semidff.datasets import OriginalFlip, OriginalResize, RandomCropWindow, RandomPan

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


def windows(shape, crop_size, divisor, count=100):
    crop = RandomCropWindow(crop_size, divisor)
    image = np.zeros((*shape, 3), np.uint8)
    found = [crop(dict(img=image)) for _ in range(count)]
    assert all(results['img'] is image for results in found)
    return {results['crop_window'] for results in found}


def test_windows_begin_at_the_cells_of_the_coarsest_map():
    found = windows((100, 130), (64, 64), 32)
    assert found == {(top, left, 64, 64) for top in (0, 32) for left in (0, 32, 64)}


def still(frame_id=(3, 8), size=(90, 120)):
    """A still scene whose pixels hold their own place (row, column)."""
    place = np.stack(np.meshgrid(*map(np.arange, size), [0], indexing='ij'), -1)[:, :, 0]
    images = [place, place]
    return dict(img=images, img_shape=[size] * 2, frame_id=list(frame_id), img_path=['a', 'b'])


def shift_of(out):
    """Return the offset of the current crop from the key frame's, (rows, columns)."""
    key, current = out['img']
    shift = (current - key)[..., :2]
    assert (shift == shift[0, 0]).all()
    return shift[0, 0]


@pytest.mark.parametrize('frame_id', [(3, 8), (8, 3)])
def test_crops_lie_anywhere_and_move_apart_at_most_by_speed_times_interval(frame_id):
    np.random.seed(0)
    transform = RandomPan(crop_size=(40, 50), max_speed=4, prob=1)
    outs = [transform(still(frame_id)) for _ in range(500)]
    assert all(image.shape == (40, 50, 3) for out in outs for image in out['img'])
    assert all(out['img_shape'] == [(40, 50)] * 2 for out in outs)
    shifts = np.array([shift_of(out) for out in outs])
    assert shifts.min() == -20 and shifts.max() == 20
    assert (abs(shifts.mean(0)) < 2).all()
    places = np.array([out['img'][0][0, 0, :2] for out in outs])
    assert (places.min(0) == 0).all() and (places.max(0) == (50, 70)).all()


@pytest.mark.parametrize(
    ('crop_size', 'speed', 'prob', 'share'),
    [
        ((40, 50), 4, 0.3, 0.3),
        # no room or no speed
        ((200, 200), 9, 1, 0),
        ((90, 120), 9, 1, 0),
        ((40, 50), 0, 1, 0),
    ],
)
def test_so_many_cameras_move(crop_size, speed, prob, share):
    np.random.seed(0)
    outs = [RandomPan(crop_size, speed, prob)(still()) for _ in range(500)]
    assert outs[0]['img'][0].shape[:2] == tuple(np.minimum(crop_size, (90, 120)))
    assert abs(np.mean([shift_of(out).any() for out in outs]) - share) < 0.05 * prob
