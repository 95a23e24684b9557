"""Clips: determinism, boxes against pixels, flow against pixels, motion."""

import cv2
import numpy as np
import pytest

from semidff.synthetic.clip import make_clip, true_boxes
from semidff.synthetic.render import render, true_flow

SIZE = (120, 160)


def _clip(number, length=12, pace='fast', **kwargs):
    return make_clip(np.random.SeedSequence(3, spawn_key=(number,)), SIZE, length, pace, **kwargs)


def test_same_seed_same_pictures_other_seed_others():
    first, again, other = (render(_clip(n), 7)[0] for n in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (*SIZE, 3) and first.dtype == np.uint8 and first.std() > 10


def test_boxes_fit_the_pixels():
    checked = 0
    for number in range(12):
        clip = _clip(number, length=3)
        for frame in range(3):
            owner = render(clip, frame)[1]
            for box in true_boxes(clip, frame, owner):
                if box.visible < 0.999 or box.layer != len(clip.layers) - 1:
                    continue
                rows, columns = np.nonzero(owner == box.layer)
                seen = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
                assert box.box == pytest.approx(seen, abs=1.01)
                checked += 1
    assert checked >= 8


def warp_errors(clip, current, key, margin):
    """Return the difference of the key frame, warped or not, from the visible current frame."""
    clip.look.gain[:], clip.look.blur, clip.look.noise[:] = 1, 0, 0
    (frame, owner), (key_frame, key_owner) = (render(clip, number) for number in (current, key))
    flow, visible = true_flow(clip, owner, key_owner, current, key)
    height, width = clip.size
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    warped = cv2.remap(key_frame, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
    core = cv2.erode(visible.astype(np.uint8), np.ones((margin, margin))).astype(bool)
    assert core.mean() > 0.3
    return [cv2.absdiff(other, frame)[core].mean() for other in (warped, key_frame)], flow


@pytest.mark.parametrize(('current', 'key'), [(9, 0), (0, 9), (5, 3)])
def test_key_frame_warped_by_the_flow_is_the_current_frame(current, key):
    found = [warp_errors(_clip(number), current, key, 5)[0] for number in range(4)]
    error, still = np.mean(found, axis=0)
    assert error < 3 and still > 4 * error
