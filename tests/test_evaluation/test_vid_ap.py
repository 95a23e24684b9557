"""The VID metric against hand-computed values."""

import math

import numpy as np
import pytest

from semidff.evaluation import vid_ap
from semidff.evaluation.vid_ap import (
    Detections,
    GroundTruth,
    ap_per_class,
    box_iou,
    iou_threshold,
    match_detections,
    mean_ap,
)

BOX = (10, 10, 109, 109)
FAR = (500, 500, 599, 599)


def truth(*rows):
    """Ground truth from (frame, label, box)."""
    return GroundTruth(
        np.array([r[0] for r in rows], int),
        np.array([r[1] for r in rows], int),
        np.array([r[2] for r in rows], float).reshape(-1, 4),
    )


def found(*rows):
    """Detections from (frame, label, score, box)."""
    return Detections(
        np.array([r[0] for r in rows], int),
        np.array([r[1] for r in rows], int),
        np.array([r[2] for r in rows], float),
        np.array([r[3] for r in rows], float).reshape(-1, 4),
    )


def matches(gt, detections):
    return match_detections(gt, detections.ranked(), 2).tolist()


def average_precision(gt, detections, num_classes):
    ranked = detections.ranked()
    hits = match_detections(gt, ranked, num_classes) >= 0
    return ap_per_class(ranked.labels, hits, ~hits, gt.count(num_classes))


def test_iou_counts_inclusive_pixels():
    a = np.array([[0, 0, 9, 9], [0, 0, 9, 9], [0, 0, 9, 9]])
    b = np.array([[0, 0, 9, 9], [5, 0, 14, 9], [10, 0, 19, 9]])
    np.testing.assert_allclose(box_iou(a, b), [1, 50 / 150, 0])


def test_small_boxes_have_a_lower_threshold():
    boxes = np.array([[0, 0, 9, 9], [0, 0, 0, 0], BOX])
    np.testing.assert_allclose(iou_threshold(boxes), [100 / 400, 1 / 121, 0.5])


def test_second_detection_of_a_box_is_a_miss():
    gt = truth((0, 0, BOX))
    assert matches(gt, found((0, 0, 0.8, BOX), (0, 0, 0.9, (12, 10, 111, 109)))) == [0, -1]


def test_equal_overlaps_take_the_first_box():
    gt = truth((0, 0, (0, 0, 99, 99)), (0, 0, (20, 0, 119, 99)))
    assert matches(gt, found((0, 0, 0.9, (10, 0, 109, 99)))) == [0]


def test_area_under_the_monotone_curve():
    # hit, miss, hit of 4 boxes: precision 1, 1/2, 2/3 -> area 1/4 * 1 + 1/4 * 2/3
    gt = truth((0, 0, BOX), (1, 0, BOX), (2, 0, BOX), (3, 0, BOX))
    rows = found((0, 0, 0.9, BOX), (1, 0, 0.8, FAR), (2, 0, 0.7, BOX))
    assert average_precision(gt, rows, 1)[0] == pytest.approx(1 / 4 + 1 / 6, abs=1e-15)


def test_class_without_ground_truth():
    gt = truth((0, 0, BOX))
    ap = average_precision(gt, found((0, 0, 0.9, BOX), (0, 1, 0.5, BOX)), 3)
    assert ap[0] == 1 and math.isnan(ap[1]) and ap[2] == 0
    assert average_precision(gt, found(), 1)[0] == 0


def test_ties_stand_in_frame_order_then_in_given_order():
    gt = truth((0, 0, BOX), (1, 0, BOX))
    later_frame_first = found((1, 0, 0.5, FAR), (0, 0, 0.5, BOX))
    assert average_precision(gt, later_frame_first, 1)[0] == 0.5  # the hit of frame 0 comes first
    hit_first = found((0, 0, 0.5, BOX), (0, 0, 0.5, FAR))
    miss_first = found((0, 0, 0.5, FAR), (0, 0, 0.5, BOX))
    assert average_precision(gt, hit_first, 1)[0] == 0.5
    assert average_precision(gt, miss_first, 1)[0] == 0.25


def random_case(seed):
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 60, (200, 2))
    boxes = np.hstack([corner, corner + rng.integers(5, 60, (200, 2))])
    gt = GroundTruth(rng.integers(0, 20, 80), rng.integers(0, 3, 80), boxes[:80].astype(float))
    scores = rng.integers(0, 20, 120) / 20
    rows = (rng.integers(0, 20, 120), rng.integers(0, 3, 120), scores, boxes[80:].astype(float))
    return gt, Detections(*rows)


def slow_hits(gt, ranked):
    """The rules, one detection and one box at a time."""
    free, result = [True] * len(gt.boxes), []
    threshold = iou_threshold(gt.boxes)
    for d in range(len(ranked)):
        best, chosen = -1, -1
        for b in range(len(gt.boxes)):
            if (gt.frames[b], gt.labels[b]) == (ranked.frames[d], ranked.labels[d]) and free[b]:
                iou = box_iou(ranked.boxes[d : d + 1], gt.boxes[b : b + 1])[0]
                if iou >= threshold[b] and iou > best:
                    best, chosen = iou, b
        if chosen >= 0:
            free[chosen] = False
        result.append(chosen)
    return result


@pytest.mark.parametrize('pairs_at_once', [2_000_000, 7])
@pytest.mark.parametrize('seed', [0, 1, 2])
def test_same_as_one_by_one(seed, pairs_at_once, monkeypatch):
    monkeypatch.setattr(vid_ap, '_PAIRS_AT_ONCE', pairs_at_once)
    gt, detections = random_case(seed)
    ranked = detections.ranked()
    hits = match_detections(gt, ranked, 3).tolist()
    assert hits == slow_hits(gt, ranked)
    assert max(hits) >= 0


def test_mean_rules():
    ap, boxes = np.array([0.5, 0.7, 0.0]), np.array([3, 2, 0])
    assert mean_ap(ap, boxes) == pytest.approx(0.6)
    assert mean_ap(ap, boxes, 'imagenet') == pytest.approx(0.4)
    ap[2] = math.nan
    assert mean_ap(ap, boxes) == pytest.approx(0.6)
    assert math.isnan(mean_ap(ap, boxes, 'imagenet'))
    assert math.isnan(mean_ap(ap, np.zeros(3)))
