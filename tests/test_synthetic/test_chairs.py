"""Pairs with true flow."""

import numpy as np

from semidff.synthetic.chairs import make_chairs
from tests.test_synthetic.test_clip import warp_errors


def _seed(number):
    return np.random.SeedSequence(11, spawn_key=(number,))


def test_second_picture_warped_by_the_flow_is_the_first():
    for number in range(5):
        (error, _), flow = warp_errors(make_chairs(_seed(number), (96, 128)), 0, 1, 3)
        assert error < 3
        assert len(np.unique(flow.round(1).reshape(-1, 2), axis=0)) > 10
