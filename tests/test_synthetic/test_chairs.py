"""Pairs with true flow, and crops."""

import numpy as np

from semidff.synthetic.chairs import make_chairs
from semidff.synthetic.clip import make_crop
from semidff.synthetic.render import render
from tests.test_synthetic.test_clip import warp_errors


def _seed(number):
    return np.random.SeedSequence(11, spawn_key=(number,))


def test_second_picture_warped_by_the_flow_is_the_first():
    for number in range(5):
        (error, _), flow = warp_errors(make_chairs(_seed(number), (96, 128)), 0, 1, 3)
        assert error < 3
        assert len(np.unique(flow.round(1).reshape(-1, 2), axis=0)) > 10


def test_pairs_are_deterministic_and_differ():
    pictures = [render(make_chairs(_seed(n), (96, 128)), 1)[0] for n in (0, 0, 1)]
    assert np.array_equal(pictures[0], pictures[1]) and not np.array_equal(pictures[0], pictures[2])


def test_crops_are_deterministic_and_hold_the_class_asked_for():
    crop = make_crop(_seed(0), 48, 3)
    assert crop.shape == (48, 48, 3) and crop.dtype == np.uint8 and crop.std() > 10
    assert np.array_equal(crop, make_crop(_seed(0), 48, 3))
    assert not np.array_equal(crop, make_crop(_seed(0), 48, 4))
