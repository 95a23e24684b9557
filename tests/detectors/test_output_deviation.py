"""Deviations of outputs where rounding changes the order of the queries."""

from types import SimpleNamespace

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from tests.detectors.output_deviation import output_deviation

IMAGES = torch.zeros(1, 3, 64, 96)
BOXES = torch.tensor([[0.0, 0, 40, 20], [50, 10, 90, 60], [5, 5, 9, 9]])
SCORES = torch.tensor([0.8, 0.6, 0.1])
LABELS = torch.tensor([0, 1, 0])


def selecting(boxes=BOXES, scores=SCORES, labels=LABELS):
    """A video detector whose encoder selects the queries, with given predictions."""
    sample = DetDataSample()
    sample.pred_instances = InstanceData(bboxes=boxes, scores=scores, labels=labels)
    return SimpleNamespace(
        spatial=SimpleNamespace(detector=SimpleNamespace(as_two_stage=True)),
        predict=lambda images, samples: [sample],
    )


def test_other_order_and_other_poor_boxes_are_no_deviation():
    order = torch.tensor([1, 0, 2])
    boxes = BOXES.clone()
    boxes[2] += 30
    found = selecting(boxes[order], SCORES[order], LABELS[order])
    assert output_deviation(selecting(), found, IMAGES) == 0


@pytest.mark.parametrize(
    ('change', 'deviation'),
    [
        (dict(boxes=BOXES + torch.tensor([2.0, 0, 0, 0])), 0.05),  # of 40 pixels
        (dict(scores=SCORES - torch.tensor([0, 0.2, 0])), 0.2),
        (dict(labels=torch.tensor([0, 0, 1])), None),
        (dict(labels=torch.tensor([2, 2, 2])), 1.0),
    ],
)
def test_a_deviation_of_a_good_box_is_found(change, deviation):
    found = output_deviation(selecting(), selecting(**change), IMAGES)
    assert found == pytest.approx(deviation, abs=1e-6) if deviation else found > 0.3
