"""Difference of tensors, detections without a counterpart, and frames to compare."""

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData

from semidff.deployment import sample_batches
from semidff.deployment.parity import Difference, _without_counterpart


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


@pytest.mark.parametrize(('scale', 'size'), [((96, 64), (64, 96)), (64, (64, 64))])
def test_frames_have_the_scale_of_the_pipeline(scale, size):
    steps = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=scale)]
    config = Config(dict(test_dataloader=dict(dataset=dict(pipeline=steps))))
    (batch,) = sample_batches(config, 1)
    assert batch['inputs'][0].shape[1:] == size


def test_a_size_is_needed_without_test_data():
    with pytest.raises(ValueError, match='give --shape H W or a --video'):
        sample_batches(Config(), 1)
