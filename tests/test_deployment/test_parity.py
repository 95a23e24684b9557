"""Difference of tensors, and detections without a counterpart."""

import pytest
import torch
from mmengine.structures import InstanceData

from semidff.deployment.parity import Difference, _without_counterpart, verify


@pytest.mark.parametrize(
    ('reference', 'other', 'expected'),
    [
        ([10.0, 0.5], [10.1, 0.5], (10.0, 0.1, 0.01)),  # large: in relation to itself
        ([10.0, 0.5], [10.0, 0.6], (10.0, 0.1, 0.1)),  # below one: in relation to one
        ([0.01, 0.0], [0.01, 0.001], (0.01, 0.001, 0.1)),  # all small: to the largest
        ([0.0, 0.0], [0.0, 0.0], (0.0, 0.0, 0.0)),
        ([1.0, 1.0], [1.0, float('nan')], (1.0, float('inf'), float('inf'))),
        ([1.0, float('nan')], [1.0, 1.0], (float('inf'), float('inf'), float('inf'))),
        ([1.0, float('inf')], [1.0, float('inf')], (float('inf'), float('inf'), float('inf'))),
    ],
)
def test_differences(reference, other, expected):
    found = Difference.between(torch.tensor(reference), torch.tensor(other))
    assert tuple(found) == pytest.approx(expected, rel=1e-4)


def test_the_worst_of_two():
    assert Difference(1, 0.2, 0.3).worst(Difference(2, 0.1, 0.4)) == (2, 0.2, 0.4)


def test_a_key_frame_alone_verifies_nothing():
    with pytest.raises(ValueError, match='at least two frames'):
        verify(None, None, [{}])


def test_shapes_that_differ():
    with pytest.raises(ValueError, match=r'\(2,\) and \(1,\) cannot be compared'):
        Difference.between(torch.zeros(2), torch.zeros(1))


def detections(*rows):
    boxes = torch.tensor([row[:4] for row in rows], dtype=torch.float).reshape(-1, 4)
    scores = torch.tensor([row[4] for row in rows])
    labels = torch.tensor([row[5] for row in rows], dtype=torch.long)
    return InstanceData(bboxes=boxes, scores=scores, labels=labels)


def test_counterparts():
    one = (0, 0, 100, 100, 0.5, 0)
    three = detections(one, (0, 0, 100, 100, 0.5, 1), (200, 0, 300, 100, 0.9, 0))
    others = detections((0, 0, 100, 100.1, 0.5004, 0), (200, 0, 300, 100, 0.8, 0))
    assert _without_counterpart(three, others) == 2  # another class, another score
    assert _without_counterpart(others, three) == 1
    assert _without_counterpart(three, detections()) == 3
    assert _without_counterpart(detections(), three) == 0
    assert _without_counterpart(detections((0, 0, 100, 90, 0.5, 0)), detections(one)) == 1
