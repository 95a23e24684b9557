"""Clips: determinism, boxes against pixels, flow against pixels, motion."""

import cv2
import numpy as np
import pytest

from semidff.evaluation.vid_ap import box_iou
from semidff.synthetic.clip import MIN_VISIBLE, make_clip, true_boxes
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


def test_boxes_are_clipped_and_hidden_objects_have_none():
    kept = missing = 0
    for number in range(10):
        clip = _clip(number)
        for frame in range(len(clip)):
            owner = render(clip, frame)[1]
            boxes = true_boxes(clip, frame, owner)
            for box in boxes:
                x1, y1, x2, y2 = box.box
                assert 0 <= x1 < x2 <= SIZE[1] and 0 <= y1 < y2 <= SIZE[0]
                assert box.visible >= MIN_VISIBLE and box.label == clip.layers[box.layer].label
            absent = set(range(len(clip.layers))) - {box.layer for box in boxes}
            for index in absent:
                area = cv2.contourArea(clip.layers[index].outline(frame).astype(np.float32))
                assert (owner == index).sum() < MIN_VISIBLE * area + 1
            kept, missing = kept + len(boxes), missing + len(absent)
    assert kept > 100 and missing > 5  # objects leave, enter and hide


def warp_errors(clip, current, key, margin):
    """Differences of the key frame, warped by the flow or not, to the current frame, where both see the same."""
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


def test_fast_clips_defeat_copying_and_interpolation():
    copied, interpolated, fast = {}, {}, {}
    for pace in ('slow', 'fast'):
        tracks = {}
        for number in range(6):
            clip = make_clip(np.random.SeedSequence(number), (192, 256), 40, pace)
            for frame in range(40):
                for box in true_boxes(clip, frame, render(clip, frame)[1]):
                    inclusive = np.subtract(box.box, [0, 0, 1, 1])
                    tracks.setdefault((number, box.layer), {})[frame] = inclusive
        copy, middle, motion = [], [], []
        for track in tracks.values():
            for frame, box in track.items():
                near = {d: track[frame + d] for d in range(-10, 11) if frame + d in track}
                others = np.array([*near.values()])
                ious = dict(zip(near, box_iou(np.tile(box, (len(near), 1)), others), strict=True))
                motion.append(np.mean([*ious.values()]))
                copy += [iou for d, iou in ious.items() if 0 < d < 10]
                if 5 in near and 10 in near:
                    middle.append(box_iou((box + near[10])[None] / 2, near[5][None]))
        copied[pace], interpolated[pace] = np.mean(copy), np.mean(middle)
        fast[pace] = np.mean(np.less(motion, 0.7))
    assert copied['fast'] < 0.55 < 0.65 < copied['slow']
    assert interpolated['fast'] < 0.7 < 0.8 < interpolated['slow']
    assert fast['fast'] > 0.75
