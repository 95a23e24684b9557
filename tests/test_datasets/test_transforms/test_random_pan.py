"""Crops that move apart."""

import numpy as np
import pytest
from mmdet.registry import TRANSFORMS

from semidff.datasets import RandomPan


def results(frame_id=(3, 8), size=(90, 120), other=None):
    """A still scene whose pixels hold their own place (row, column)."""
    place = np.stack(np.meshgrid(*map(np.arange, size), [0], indexing='ij'), -1)[:, :, 0]
    images = [place, place if other is None else other]
    return dict(img=images, img_shape=[size] * 2, frame_id=list(frame_id), img_path=['a', 'b'])


def shift_of(out):
    """How far the current crop is from the key frame's, (rows, columns); the crops' pixels say it."""
    key, current = out['img']
    assert len(np.unique((current - key).reshape(-1, 3)[:, :2], axis=0)) == 1
    return (current - key)[0, 0, :2]


@pytest.mark.parametrize('frame_id', [(3, 8), (8, 3)])
def test_crops_move_apart_at_most_by_speed_times_interval(frame_id):
    np.random.seed(0)
    transform = RandomPan(crop_size=(40, 50), max_speed=4, prob=1)
    outs = [transform(results(frame_id)) for _ in range(300)]
    assert all(image.shape == (40, 50, 3) for out in outs for image in out['img'])
    assert all(out['img_shape'] == [(40, 50)] * 2 for out in outs)
    shifts = np.array([shift_of(out) for out in outs])
    assert shifts.min() == -20 and shifts.max() == 20
    assert (abs(shifts.mean(0)) < 2).all()


def test_crops_lie_anywhere_in_the_frame():
    np.random.seed(0)
    transform = RandomPan(crop_size=(40, 50), max_speed=4)
    places = np.array([transform(results())['img'][0][0, 0, :2] for _ in range(500)])
    assert (places.min(0) == 0).all() and (places.max(0) == (50, 70)).all()


def test_a_neighboring_frame_moves_less():
    np.random.seed(0)
    transform = RandomPan(crop_size=(40, 50), max_speed=4)
    assert max(abs(shift_of(transform(results((3, 4))))).max() for _ in range(100)) == 4


@pytest.mark.parametrize('prob', [0.0, 0.3, 1.0])
def test_so_many_cameras_move(prob):
    np.random.seed(0)
    transform = RandomPan(crop_size=(40, 50), max_speed=4, prob=prob)
    moved = np.mean([shift_of(transform(results())).any() for _ in range(500)])
    assert abs(moved - prob) < 0.05


@pytest.mark.parametrize('crop_size, speed', [((200, 200), 9), ((90, 120), 9), ((40, 50), 0)])
def test_no_room_or_no_speed_is_no_motion(crop_size, speed):
    np.random.seed(0)
    out = RandomPan(crop_size, speed, prob=1)(results())
    assert (shift_of(out) == 0).all()
    assert out['img'][0].shape[:2] == tuple(np.minimum(crop_size, (90, 120)))


def test_the_same_seed_gives_the_same_crops():
    transform = TRANSFORMS.build(dict(type='RandomPan', crop_size=(40, 50), max_speed=4))
    first, second = [], []
    for outs in (first, second):
        np.random.seed(5)
        outs += [transform(results()) for _ in range(3)]
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one['img'], two['img'])


def test_frames_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match='differ in size'):
        RandomPan((40, 50), 4)(results(other=np.zeros((80, 120, 3))))


@pytest.mark.parametrize('arguments', [((0, 50), 4), ((40, 50), -1), ((40, 50), 4, 2)])
def test_senseless_settings_are_refused(arguments):
    with pytest.raises(ValueError, match='crop_size'):
        RandomPan(*arguments)
