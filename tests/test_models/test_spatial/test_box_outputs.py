from types import SimpleNamespace

import pytest
import torch
from mmdet.models.task_modules import DeltaXYWHBBoxCoder
from mmdet.structures.bbox import distance2bbox

from semidff.models.spatial import box_outputs
from semidff.models.spatial.box_outputs import (
    BOXES,
    CENTER,
    CLASSES,
    centers,
    corners,
    deltas,
    distances,
    joint,
    top_bottom,
    weighted,
)
from semidff.models.spatial.head_family import HeadOutput
from semidff.models.spatial.two_stage_heads import roi_outputs


def point(*values: float) -> list[torch.Tensor]:
    return [torch.tensor(values, dtype=torch.float).reshape(1, -1, 1, 1)]


def test_a_shift_of_the_box_has_the_same_size_in_all_codes():
    """A box of 40 x 20 pixels, shifted by a tenth of its width, differs by one unit."""
    prior = torch.tensor([[100.0, 100.0]])
    box, shifted = (torch.tensor([[80.0 + d, 90.0, 120.0 + d, 110.0]]) for d in (0, 4))
    edges = point(20, 10, 20, 10), point(16, 10, 24, 10)
    assert torch.equal(distance2bbox(prior, edges[1][0].reshape(1, 4)), shifted)
    coder = DeltaXYWHBBoxCoder(target_stds=[0.1, 0.1, 0.2, 0.2])
    head, anchor = SimpleNamespace(bbox_coder=coder), torch.tensor([[70.0, 95.0, 100.0, 111.0]])
    codes = [
        (deltas, head, [point(*coder.encode(anchor, b)[0].tolist()) for b in (box, shifted)]),
        (distances, None, edges),
        (corners, None, (point(-20, -10, 20, 10), point(-16, -10, 24, 10))),
        (top_bottom, None, (point(10, 10, 20, 20), point(10, 10, 16, 24))),
    ]
    for code, head, (own, other) in codes:
        teacher, student = code(own, head), code(other, head)
        difference = ((student.values - teacher.values) / teacher.unit).abs()
        assert difference.max().item() == pytest.approx(1, rel=1e-4), code.__name__
    size = torch.tensor([5.0, 2.5]).log().tolist()  # 40 x 20 pixels in cells of 8
    teacher, student = centers(point(0, 0, *size), None), centers(point(0.5, 0, *size), None)
    difference = (student.values - teacher.values) / teacher.unit
    assert difference[0].tolist() == pytest.approx([0.1 / CENTER, 0, 0, 0])


def test_every_stage_of_a_cascade_has_its_own_unit():
    """An RoI of 40 x 20 pixels whose box moves by one unit, a k-th of it at stage k."""
    for stage in (1, 2, 3):
        coder = DeltaXYWHBBoxCoder(target_stds=[s / stage for s in (0.1, 0.1, 0.2, 0.2)])
        head = SimpleNamespace(bbox_coder=coder, reg_class_agnostic=True, num_classes=1)
        _, boxes = roi_outputs(torch.zeros(1, 2), torch.zeros(1, 4), head)
        moved = coder.decode(torch.tensor([[0.0, 0.0, 40.0, 20.0]]), boxes.unit)
        center = torch.tensor([20.0, 10.0]) + torch.tensor([4.0, 2.0]) / stage
        size = torch.tensor([40, 20]) * torch.tensor(0.2 / stage).exp()
        assert torch.allclose(moved, torch.cat((center - size / 2, center + size / 2))[None])


def test_joint_logits_are_those_of_the_product():
    classes, objectness = torch.tensor([[0.3, -2.0], [4.0, 0.0]]), torch.tensor([[1.0], [-3.0]])
    found = joint(classes, objectness).sigmoid()
    assert torch.allclose(found, classes.sigmoid() * objectness.sigmoid())


def test_weights_of_the_anchors():
    """Foreground probabilities 1/2 and 1/4, count 1/4 + 1/16, at least 1."""
    logits = torch.tensor([[0.0, -20.0], [-20.0, -torch.tensor(3.0).log()]])
    boxes = HeadOutput('box', 'offsets', torch.zeros(2, 4))
    cls, box = weighted(logits, boxes)
    assert cls.weight.item() == 1
    assert box.weight.tolist() == pytest.approx([BOXES / 4, BOXES / 16])
    cls, box = weighted(logits.repeat(4, 1), boxes._replace(values=torch.zeros(32, 5)))
    assert cls.weight.item() == pytest.approx(0.8)  # 4 * 5 / 16 objects
    assert box.weight.sum().item() == pytest.approx(BOXES) and len(box.weight) == 32
    # With an objectness of 1/2, the probabilities are halved, and classes are compared at objects.
    cls, _, quality = weighted(logits, boxes, torch.zeros(2, 1), objectness=True, prefix='rpn_')
    assert cls.weight.tolist() == pytest.approx([CLASSES / 16, CLASSES / 64])
    assert (quality.name, quality.weight.item()) == ('rpn_quality', 1)


def test_processes_share_the_number_of_objects(monkeypatch):
    """The mean of two processes' losses, one without objects, is the loss of one process."""
    counts = torch.tensor([9.0, 0.0])
    logits = torch.full((18, 1), -20.0)
    logits[:9] = 20
    boxes = HeadOutput('box', 'offsets', torch.zeros(18, 4))
    whole = [output.weight.expand(18) for output in weighted(logits, boxes)]
    monkeypatch.setattr(box_outputs, 'reduce_mean', lambda count: counts.mean())
    halves = [weighted(part, boxes._replace(values=torch.zeros(9, 4))) for part in logits.split(9)]
    for expected, *parts in zip(whole, *halves, strict=True):
        found = torch.cat([part.weight.expand(9) for part in parts]) / 2
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_softmax_foreground_excludes_the_background():
    logits = torch.tensor([[0.0, 0.0, torch.tensor(2.0).log()]])  # probabilities 1/4, 1/4, 1/2
    _, box = weighted(logits, HeadOutput('box', 'offsets', torch.zeros(1, 4)), softmax=True)
    assert box.weight.tolist() == pytest.approx([BOXES / 4])
