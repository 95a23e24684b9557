"""Slow, medium and fast objects."""

import math

import numpy as np
import pytest

from semidff.evaluation.motion_speed import ap_by_speed, motion_iou, speed_of
from semidff.evaluation.vid_ap import Detections, GroundTruth, match_detections

SLOW, MEDIUM, FAST, UNKNOWN = range(4)
BOX = (0, 0, 99, 99)
FAR = (500, 500, 599, 599)


def moving(step, times, video=0, track=0):
    """videos, times, tracks, boxes of a 100 x 100 box that moves ``step`` pixels per frame."""
    boxes = np.array([(step * t, 0, step * t + 99, 99) for t in times], float)
    count = len(times)
    return np.full(count, video), np.array(times), np.full(count, track), boxes


def iou_after(shift):
    return max(100 - shift, 0) / (100 + shift)


def test_mean_over_the_window_cut_at_the_tracks_ends():
    motion = motion_iou(*moving(2, range(30)))
    forward = [iou_after(2 * k) for k in range(1, 11)]
    assert motion[0] == pytest.approx(np.mean(forward))
    assert motion[15] == pytest.approx(np.mean(forward + forward))
    assert motion[28] == pytest.approx(np.mean(forward + forward[:1]))


def test_window_is_counted_in_frames_not_in_boxes():
    motion = motion_iou(*moving(1, [0, 8, 20]))
    assert motion[:2] == pytest.approx([iou_after(8)] * 2)
    assert math.isnan(motion[2])


def test_tracks_and_videos_do_not_mix():
    parts = [moving(0, [0, 1]), moving(50, [0, 1], track=1), moving(10, [0, 1], video=1)]
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    shuffle = [5, 0, 3, 1, 4, 2]
    motion = motion_iou(*(column[shuffle] for column in joined))
    expected = np.repeat([1, iou_after(50), iou_after(10)], 2)[shuffle]
    np.testing.assert_allclose(motion, expected)


def test_speeds():
    speeds = speed_of(np.array([0.95, 0.9, 0.7, 0.69, math.nan]))
    assert speeds.tolist() == [SLOW, MEDIUM, MEDIUM, FAST, UNKNOWN]


def split(truth_rows, speeds, detection_rows, num_frames=1):
    """AP of one class by speed, from (frame, box) and (frame, score, box)."""
    gt = GroundTruth(
        np.array([r[0] for r in truth_rows]),
        np.zeros(len(truth_rows), int),
        np.array([r[1] for r in truth_rows], float),
    )
    rows = Detections(
        np.array([r[0] for r in detection_rows], int),
        np.zeros(len(detection_rows), int),
        np.array([r[1] for r in detection_rows], float),
        np.array([r[2] for r in detection_rows], float).reshape(-1, 4),
    ).ranked()
    matched = match_detections(gt, rows, 1)
    result = ap_by_speed(gt, rows, matched, np.array(speeds), num_frames, 1)
    return {name: (ap[0], count[0]) for name, (ap, count) in result.items()}


def test_boxes_of_other_speeds_are_neither_hit_nor_miss():
    # the fast box is found first and must not cost the slow ones precision
    result = split([(0, BOX), (0, FAR)], [SLOW, FAST], [(0, 0.9, FAR), (0, 0.8, BOX)])
    assert result['slow'] == (1, 1)
    assert result['fast'] == (1, 1)
    assert math.isnan(result['medium'][0]) and result['medium'][1] == 0


def test_false_positive_belongs_to_the_speed_of_the_nearest_box():
    beside = (70, 0, 169, 99)  # touches BOX, not enough to find it
    result = split(
        [(0, BOX), (0, FAR)], [SLOW, FAST], [(0, 0.9, beside), (0, 0.8, BOX), (0, 0.7, FAR)]
    )
    assert result['slow'][0] == pytest.approx(1 / 2)
    assert result['fast'][0] == 1


def test_false_positive_far_from_all_counts_by_the_share_of_other_speeds():
    boxes = [(0, BOX), (0, FAR), (0, (0, 300, 99, 399)), (0, (300, 0, 399, 99))]
    nowhere = (800, 800, 899, 899)
    rows = [(0, 0.9, nowhere), *((0, 0.5, box) for _, box in boxes)]
    result = split(boxes, [SLOW, FAST, FAST, FAST], rows)
    assert result['slow'][0] == pytest.approx(1 / (1 + 3 / 4))
    # precision rises with each of the three hits; monotone from the right: the last one counts
    assert result['fast'][0] == pytest.approx(3 / (3 + 1 / 4))


def test_false_positive_in_an_empty_frame_counts_by_the_share_of_the_speed():
    # three boxes and two empty frames: 1/5 slow, (2 + 2)/5 fast
    boxes = [(0, BOX), (0, FAR), (0, (0, 300, 99, 399))]
    rows = [(1, 0.9, BOX), *((0, 0.5, box) for _, box in boxes)]
    result = split(boxes, [SLOW, FAST, FAST], rows, num_frames=3)
    assert result['slow'][0] == pytest.approx(1 / (1 + 1 / 5))
    assert result['fast'][0] == pytest.approx(2 / (2 + 4 / 5))
