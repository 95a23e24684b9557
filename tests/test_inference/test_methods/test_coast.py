"""The tracker behind *coast*."""

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import bbox_overlaps

from semidff.inference.methods.boxes import BoxTracker

LABELS, SCORES = np.array([0]), np.array([0.9])
VELOCITY = np.array([4.0, -1.0, 4.0, -1.0])


def moving(frame: int) -> np.ndarray:
    return np.array([[50.0, 100.0, 90.0, 160.0]]) + VELOCITY * frame


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return float(bbox_overlaps(torch.from_numpy(first), torch.from_numpy(second), is_aligned=True))


def test_constant_velocity_is_learned():
    """IoU with the truth at the last frame ahead of each key frame, every 5th frame being one."""
    tracker, overlaps = BoxTracker(), []
    for index in range(25):
        tracker.step()
        if index % 5 == 0:
            tracker.update(moving(index), SCORES, LABELS)
            assert np.allclose(tracker.boxes(), moving(index))
        if index % 5 == 4:
            overlaps.append(iou(tracker.boxes(), moving(index)))
    still = iou(moving(0), moving(4))
    assert overlaps[0] == pytest.approx(still)  # no velocity before a second key frame
    assert overlaps[1] > 0.85
    assert overlaps[2] > 0.94
    assert min(overlaps[3:]) > 0.96


def test_new_objects_and_weak_detections_stand_still():
    tracker = BoxTracker()
    weak = np.array([0.01])
    for start in (0, 5):
        tracker.update(moving(start), weak, LABELS)
        for _ in range(4):
            tracker.step()
        assert np.allclose(tracker.boxes(), moving(start))


def test_each_class_is_tracked_for_itself():
    tracker = BoxTracker()
    tracker.update(moving(0), SCORES, np.array([0]))
    for _ in range(5):
        tracker.step()
    tracker.update(moving(5), SCORES, np.array([1]))
    tracker.step()
    assert np.allclose(tracker.boxes(), moving(5))  # another class: a new object, still standing


def test_boxes_keep_the_order_and_number_of_detections():
    tracker = BoxTracker()
    first = np.concatenate([moving(0), moving(0) + 200, moving(0) + 400])
    tracker.update(first, np.array([0.9, 0.8, 0.7]), np.array([0, 0, 1]))
    for _ in range(5):
        tracker.step()
    second = (first + 5 * VELOCITY)[::-1]
    tracker.update(second, np.array([0.7, 0.8, 0.9]), np.array([1, 0, 0]))
    tracker.step()
    boxes = tracker.boxes()
    assert boxes.shape == (3, 4)
    assert np.abs(boxes - (second + VELOCITY)).max() < 1


def test_a_missed_object_is_remembered_but_not_reported():
    tracker, nothing = BoxTracker(), np.zeros((0, 4))
    for index in range(0, 15, 5):
        boxes = nothing if index == 10 else moving(index)
        tracker.update(boxes, SCORES[: len(boxes)], LABELS[: len(boxes)])
        assert len(tracker.boxes()) == len(boxes)
        for _ in range(5):
            tracker.step()
    tracker.update(moving(15), SCORES, LABELS)
    tracker.step()
    assert np.abs(tracker.boxes() - moving(16)).max() < 0.5  # velocity from before the miss


def test_degenerate_boxes_do_no_harm():
    tracker = BoxTracker()
    for _ in range(3):
        tracker.update(np.array([[5.0, 5.0, 5.0, 5.0]]), SCORES, LABELS)
        tracker.step()
    assert np.isfinite(tracker.boxes()).all()
