"""Pairs with true flow."""

import cv2
import numpy as np

from semidff.synthetic.chairs import make_chairs, true_flow
from semidff.synthetic.render import render


def test_second_picture_warped_by_the_flow_is_the_first():
    for number in range(5):
        clip = make_chairs(np.random.SeedSequence(11, spawn_key=(number,)), (96, 128))
        clip.look.exposure[:], clip.look.blur, clip.look.noise[:] = 1, 0, 128
        first, second = render(clip, 0), render(clip, 1)
        flow, visible = true_flow(clip, first.owner, second.owner, 0, 1)
        x, y = np.meshgrid(np.arange(128, dtype=np.float32), np.arange(96, dtype=np.float32))
        warped = cv2.remap(second.image, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
        core = cv2.erode(visible.astype(np.uint8), np.ones((3, 3))).astype(bool)
        error, still = (
            cv2.absdiff(picture, first.image)[core].mean() for picture in (warped, second.image)
        )
        assert core.mean() > 0.3 and error < 3 and still > 2 * error
        assert len(np.unique(flow.round(1).reshape(-1, 2), axis=0)) > 10
