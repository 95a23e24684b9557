"""Pairs with true flow, and crops."""

import cv2
import mmcv
import numpy as np

from semidff.synthetic.chairs import make_chairs
from semidff.synthetic.clip import make_crop
from semidff.synthetic.render import render, true_flow, write_flow


def _seed(number):
    return np.random.SeedSequence(11, spawn_key=(number,))


def test_second_picture_warped_by_the_flow_is_the_first():
    for number in range(5):
        clip = make_chairs(_seed(number), (96, 128))
        clip.look.gain[:], clip.look.blur, clip.look.noise[:] = 1, 0, 0
        flow, visible = true_flow(clip, render(clip, 0)[1], render(clip, 1)[1], 0, 1)
        first, second = render(clip, 0)[0], render(clip, 1)[0]
        x, y = np.meshgrid(np.arange(128, dtype=np.float32), np.arange(96, dtype=np.float32))
        warped = cv2.remap(second, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
        core = cv2.erode(visible.astype(np.uint8), np.ones((3, 3))).astype(bool)
        assert core.mean() > 0.3
        assert cv2.absdiff(warped, first)[core].mean() < 3
        assert len(np.unique(flow.round(1).reshape(-1, 2), axis=0)) > 10


def test_pairs_are_deterministic_and_differ():
    pictures = [render(make_chairs(_seed(n), (96, 128)), 1)[0] for n in (0, 0, 1)]
    assert np.array_equal(pictures[0], pictures[1]) and not np.array_equal(pictures[0], pictures[2])


def test_flow_file_is_read_back_by_mmcv(tmp_path):
    flow = np.random.default_rng(0).normal(size=(5, 7, 2)).astype(np.float32)
    path = str(tmp_path / 'a.flo')
    write_flow(path, flow)
    assert np.array_equal(mmcv.flowread(path), flow)


def test_crops_are_deterministic_and_hold_the_class_asked_for():
    crop = make_crop(_seed(0), 48, 3)
    assert crop.shape == (48, 48, 3) and crop.dtype == np.uint8 and crop.std() > 10
    assert np.array_equal(crop, make_crop(_seed(0), 48, 3))
    assert not np.array_equal(crop, make_crop(_seed(0), 48, 4))
