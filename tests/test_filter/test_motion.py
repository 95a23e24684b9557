"""Boxes moved by optical flow, on pictures whose motion is known."""

import cv2
import numpy as np
import pytest

from semidff.filter import camera_motion, move_boxes, picture_of
from semidff.filter.motion import _median
from tests.tiny.pictures import picture

SIZES = (128, 160), (360, 640)  # of pictures


def moved(size, boxes, steps, pan=(0, 0), velocities=None, seed=0):
    """The motion that is found between two pictures, in which each box makes its step."""
    boxes, steps = np.array(boxes, float), np.array(steps, float)
    before = picture(size, boxes, seed=seed)
    after = picture(size, boxes + np.tile(steps, 2), pan, seed)
    velocities = np.zeros_like(steps) if velocities is None else velocities
    return move_boxes(before, after, boxes, velocities, camera_motion(before, after, boxes))


@pytest.mark.parametrize('step', [(0, 0), (0.3, -0.7), (2.25, 1.5), (-4.4, 3.1)])
@pytest.mark.parametrize('side', [24, 40, 90])
@pytest.mark.parametrize('size', SIZES)
def test_steps_of_boxes_of_several_sizes(size, side, step):
    box = [30.2, 20.6, 30.2 + side, 20.6 + side]
    steps, growth, spread = moved(size, [box], [step])
    assert steps[0] == pytest.approx(step, abs=0.1) and spread[0] < 0.25
    assert abs(growth[0]) < 0.4 / side


@pytest.mark.parametrize('size', SIZES)
def test_boxes_move_independently_of_one_another_and_of_the_camera(size):
    boxes = [[10, 12, 50, 60], [70, 30, 110, 100], [115, 4, 150, 44]]
    true = [(1.5, 0.25), (-2.3, 1.1), (0, -0.6)]
    steps, _, spread = moved(size, boxes, true, pan=(3.4, -1.2))
    assert np.abs(steps - true).max() < 0.1 and spread.max() < 0.25


@pytest.mark.parametrize('pan', [(0.4, 0.2), (5.5, -2.5), (-9, 4)])
def test_boxes_on_what_the_camera_pans_over(pan):
    boxes = np.array([[10, 10, 40, 70], [60, 20, 150, 110], [100, 90, 125, 120.0]])
    before, after = picture((128, 160)), picture((128, 160), pan=pan)
    camera = camera_motion(before, after, boxes[:0])
    assert camera == pytest.approx(np.array([[1, 0, pan[0]], [0, 1, pan[1]]]), abs=0.1)
    steps, _, spread = move_boxes(before, after, boxes, np.zeros((3, 2)), camera)
    assert np.abs(steps - pan).max() < 0.1 and spread.max() < 0.1


@pytest.mark.parametrize('zoom', [0.95, 0.985, 1.0, 1.02, 1.06])
@pytest.mark.parametrize('turn', [0, 1.5])
def test_zoom_of_the_camera_and_of_boxes(zoom, turn):
    """An object is a part of the picture that is zoomed by as much again, over the background."""
    scene = picture((360, 480))
    center = np.array([200.0, 150])

    def turned(factor, degrees):
        return cv2.getRotationMatrix2D(center.tolist(), degrees, factor)

    def seen(matrix, image):
        return cv2.warpAffine(image, matrix, (480, 360), borderMode=cv2.BORDER_REFLECT_101)

    after = seen(turned(zoom, turn), scene)
    none = np.zeros((0, 4))
    found = camera_motion(scene, after, none)
    assert found == pytest.approx(turned(zoom, turn), abs=0.5)
    assert found[:, :2] == pytest.approx(turned(zoom, turn)[:, :2], abs=0.004)
    box, other = np.array([[150.0, 100, 250, 200]]), picture((360, 480), seed=5)
    pair = []
    for image, factor in ((scene, 1.0), (after, zoom)):
        left, top, right, bottom = np.round(
            np.tile(center, 2) + factor * (box[0] - np.tile(center, 2))
        ).astype(int)
        image = image.copy()
        image[top:bottom, left:right] = seen(turned(factor, 0), other)[top:bottom, left:right]
        pair.append(image)
    for camera in (found, None):
        _, growth, spread = move_boxes(*pair, box, np.zeros((1, 2)), camera)
        assert growth[0] == pytest.approx(np.log(zoom), abs=0.004) and spread[0] < 2.5


def test_a_step_larger_than_the_search_is_found_where_it_is_expected():
    box, step = [100, 100, 160, 160], (61.5, 20.25)
    assert not moved((360, 640), [box], [step]).spread[0] < 1  # lost, or points that disagree
    steps, _, spread = moved((360, 640), [box], [step], velocities=np.array([[60.0, 19.0]]))
    assert steps[0] == pytest.approx(step, abs=0.1) and spread[0] < 0.25


def test_points_outside_the_picture_are_not_used():
    step = (1.25, 0.75)
    steps, _, spread = moved((128, 160), [[-30, 40, 30, 100]], [step])  # six of nine points
    assert steps[0] == pytest.approx(step, abs=0.1) and spread[0] < 0.25
    for outside in ([-90, 10, -30, 70], [170, 10, 220, 60], [20, 130, 60, 170]):
        steps, growth, spread = moved(
            (128, 160), [outside], [step], velocities=np.array([[3.0, -2.0]])
        )
        assert steps == pytest.approx(np.array([[3, -2]]), abs=0.1)
        assert abs(growth[0]) < 0.003 and np.isinf(spread).all()


def test_a_hidden_object_is_not_followed_by_what_hides_it():
    """A box that moves behind something at rest; its points there are background."""
    size, step = (128, 160), np.array([[3.0, 0]])
    box, post = np.array([[60.0, 30, 100, 90]]), [82, 20, 110, 100]
    moving = [picture(size, [one]) for one in (box[0], box[0] + np.tile(step[0], 2))]
    still = picture(size, [post], seed=3)
    for image in moving:
        left, top, right, bottom = post
        image[top:bottom, left:right] = still[top:bottom, left:right]
    steps, _, _ = move_boxes(*moving, box, step)
    assert steps[0] == pytest.approx(step[0], abs=0.3)


@pytest.mark.parametrize('after', ['noise', 'black', 'other texture'])
def test_lost_points(after):
    size, boxes = (128, 160), np.array([[20, 20, 70, 70], [90, 40, 140, 110.0]])
    velocities, rng = np.array([[1.5, -0.5], [0, 4.0]]), np.random.default_rng(0)
    last = {
        'noise': rng.integers(0, 256, size, dtype=np.uint8),
        'black': np.zeros(size, np.uint8),
        'other texture': picture(size, seed=77),
    }[after]
    given = velocities.copy()
    before = picture(size)
    camera = camera_motion(before, last, np.zeros((0, 4)))
    assert (camera == np.eye(2, 3)).all()
    steps, growth, spread = move_boxes(before, last, boxes, velocities)
    assert (velocities == given).all()
    lost = np.isinf(spread)
    assert (steps[lost] == velocities[lost]).all() and (growth[lost] == 0).all()
    # Single points may be found by chance; they disagree.
    assert (spread > 0.5).all() and (np.abs(growth) < 0.02).all()


@pytest.mark.parametrize('gain', [0.95, 1.05])
def test_light_that_changes(gain):
    """Windows differ everywhere then, and points are found as before."""
    size, box, step = (128, 160), np.array([[40.0, 30, 90, 90]]), (2.25, -1.5)
    before, after = picture(size, box), picture(size, box + np.tile(step, 2))
    after = np.clip(after * gain, 0, 255).astype(np.uint8)
    steps, _, spread = move_boxes(before, after, box, np.zeros((1, 2)))
    assert steps[0] == pytest.approx(step, abs=0.4) and spread[0] < 1


def test_no_boxes():
    steps, growth, spread = move_boxes(*[picture((64, 96))] * 2, np.zeros((0, 4)), np.zeros((0, 2)))
    assert steps.shape == (0, 2) and growth.shape == spread.shape == (0,)


def test_median():
    rng = np.random.default_rng(0)
    for _ in range(50):
        for shape in ((20, 9), (20, 9, 2)):
            values = rng.normal(size=shape)
            missing = rng.random(shape[:2]) < rng.random()
            missing[:, 3] = False  # one is there
            values[missing] = np.nan
            assert _median(values) == pytest.approx(np.nanmedian(values, 1), abs=1e-12)


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ((360, 640), (360, 640)),
        ((480, 854), (480, 854)),
        ((720, 1280), (360, 640)),
        ((1080, 1920), (360, 640)),
        ((1920, 1080), (640, 360)),
        ((2160, 3840), (360, 640)),
        ((721, 1001), (360, 500)),
    ],
)
def test_picture(given, expected):
    image = np.random.default_rng(0).integers(0, 256, (*given, 3), dtype=np.uint8)
    reduced = picture_of(image)
    assert reduced.shape == expected and reduced.dtype == np.uint8
    gray = image @ [0.114, 0.587, 0.299]
    assert reduced.mean() == pytest.approx(gray.mean(), abs=0.5)
    assert picture_of(np.round(gray).astype(np.uint8)).shape == expected
    if given == (720, 1280):
        blocks = gray.reshape(360, 2, 640, 2).mean((1, 3))
        assert np.abs(reduced - blocks).max() <= 1.5
