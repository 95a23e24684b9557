"""COCO AP of arrays, compared with its definition."""

import numpy as np
import pytest

from semidff.evaluation.coco_ap import coco_ap
from semidff.evaluation.vid_ap import Detections, GroundTruth


def truth():
    """Two frames, two of three classes; boxes of 100 x 100."""
    box = [0.0, 0.0, 100.0, 100.0]
    return GroundTruth(np.array([0, 1, 1]), np.array([0, 0, 2]), np.array([box] * 3))


def found(widths, labels=(0, 0, 2), frames=(0, 1, 1)):
    """Boxes of the same place, narrower: their IoU is the width in hundredths."""
    boxes = np.array([[0.0, 0.0, width, 100.0] for width in widths]).reshape(-1, 4)
    scores = np.full(len(boxes), 0.9)
    return Detections(np.array(frames, int), np.array(labels, int), scores, boxes)


@pytest.mark.parametrize(
    ('widths', 'expected'),
    [
        ((100, 100, 100), (1, 1, 1)),
        ((72, 72, 72), (0.5, 1, 0)),  # found at 0.5, 0.55, ..., 0.7
        ((100, 100, 72), (0.75, 1, 0.5)),  # mean over the two classes that are there
    ],
)
def test_mean_over_ious_and_classes(widths, expected):
    figures = coco_ap(truth(), found(widths), 2, 3)
    assert tuple(figures.values()) == pytest.approx(expected)


def test_nothing_found_and_nothing_to_find():
    nothing = found((), (), ())
    assert coco_ap(truth(), nothing, 2, 3) == dict(AP=0, AP_50=0, AP_75=0)
    empty = GroundTruth(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 4)))
    assert all(np.isnan(value) for value in coco_ap(empty, nothing, 2, 3).values())
