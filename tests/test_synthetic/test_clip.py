"""Clips: determinism, boxes against pixels, what happens in them."""

import cv2
import numpy as np

from semidff.synthetic.clip import make_clip, true_boxes
from semidff.synthetic.objects import CLASSES
from semidff.synthetic.render import render

SIZE = (120, 160)


def _clip(number, length=12):
    return make_clip(np.random.SeedSequence(3, spawn_key=(number,)), SIZE, length)


def test_same_seed_same_pictures_other_seed_others():
    first, again, other = (render(_clip(n), 7).image for n in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (*SIZE, 3) and first.dtype == np.uint8 and first.std() > 10


def test_boxes_fit_the_visible_pixels():
    fractions = []
    for number in range(12):
        clip = _clip(number, length=3)
        for frame in range(3):
            rendered = render(clip, frame)
            for box in true_boxes(clip, rendered):
                rows, columns = np.nonzero(rendered.owner == box.layer)
                sides = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
                assert box.box == sides
                assert 0.25 <= box.visible <= 1
                fractions.append(box.visible)
    assert len(fractions) > 20 and min(fractions) < 0.8 and max(fractions) == 1


def test_an_object_is_drawn_where_its_pixels_are():
    clip = _clip(4, length=2)
    before = render(clip, 0)
    without = clip.layers.pop()
    changed = cv2.absdiff(before.image, render(clip, 0).image).max(axis=-1) > 40
    assert without.label in range(-1, len(CLASSES))
    assert (before.owner[changed] == len(clip.layers)).mean() > 0.9


def test_objects_arrive_leave_and_change_their_shape():
    arrived, left, shapes = 0, 0, []
    for number in range(30):
        clip = _clip(number, length=40)
        first, last = ({b.layer: b.box for b in true_boxes(clip, render(clip, t))} for t in (0, 39))
        arrived += len(last.keys() - first.keys())
        left += len(first.keys() - last.keys())
        for layer in first.keys() & last.keys():
            (a, b, c, d), (e, f, g, h) = first[layer], last[layer]
            shapes.append((c - a) / (d - b) * (h - f) / (g - e))
    assert arrived and left
    assert np.std(np.log(shapes)) > 0.1
