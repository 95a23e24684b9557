import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from semidff.models.losses import (
    binary_distillation_loss,
    box_distillation_loss,
    class_distillation_loss,
    end_point_error,
)
from semidff.models.objectives import Distillation, FeatureRegression
from semidff.models.spatial import ExtractFeatSplit

LN3 = math.log(3)


def regression_loss(predicted, target, norm='l2'):
    student = SimpleNamespace(split=ExtractFeatSplit())
    batch = Distillation(student, None, [predicted], [target], [])
    return FeatureRegression(norm)(batch)['loss_reg']


l1_regression_loss = partial(regression_loss, norm='l1')


def test_regression_is_the_mean_square():
    predicted = torch.tensor([[[[1.0, 2.0], [3.0, 5.0]]]])
    target = torch.tensor([[[[1.0, 0.0], [0.0, 4.0]]]])
    assert regression_loss(predicted, target).item() == (0 + 4 + 9 + 1) / 4
    assert l1_regression_loss(predicted, target).item() == (0 + 2 + 3 + 1) / 4


def test_class_loss_by_hand():
    # P_t = (3/4, 1/4), P_s = (1/2, 1/2); the second row agrees.
    teacher = torch.tensor([[LN3, 0.0], [5.0, 1.0]])
    student = torch.tensor([[1.0, 1.0], [5.0, 1.0]])
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    loss = class_distillation_loss(student, teacher).item()
    assert loss == pytest.approx(divergence / 2, rel=1e-6)
    # Twice the logits at T = 2 are the same distributions; T squared stays.
    loss = class_distillation_loss(2 * student, 2 * teacher, temperature=2).item()
    assert loss == pytest.approx(4 * divergence / 2, rel=1e-6)


@pytest.mark.parametrize('temperature', [2, 4, 10, 40])
def test_class_loss_at_high_temperatures_is_precise(temperature):
    generator = torch.Generator().manual_seed(0)
    teacher = 3 * torch.randn(300, 31, generator=generator)
    student = (teacher + 0.3 * torch.randn(300, 31, generator=generator)).requires_grad_()
    loss = class_distillation_loss(student, teacher, temperature)
    exact = F.kl_div(
        F.log_softmax(student.double() / temperature, 1),
        F.log_softmax(teacher.double() / temperature, 1),
        reduction='batchmean',
        log_target=True,
    )
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item() * temperature**2, rel=2e-7)
    loss.backward()
    assert student.grad.dtype == torch.float32


def test_box_loss_by_hand():
    student, teacher = (
        torch.tensor([[1.0, 2.0], [0.0, 0.0]]),
        torch.tensor([[0.0, 2.0], [0.0, 3.0]]),
    )
    assert box_distillation_loss(student, teacher).item() == (1 + 0 + 0 + 9) / 4


def test_weighted_losses_by_hand():
    teacher = torch.tensor([[LN3, 0.0], [0.0, 0.0]])
    student = torch.zeros(2, 2)
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    weight = torch.tensor([2.0, 5.0])
    assert class_distillation_loss(student, teacher, weight=weight).item() == pytest.approx(
        2 * divergence, rel=1e-6
    )
    boxes = torch.tensor([[1.0, 3.0], [0.0, 2.0]])
    # Means of the rows: (1 + 9) / 2 and (0 + 4) / 2.
    assert box_distillation_loss(student, boxes, weight).item() == 2 * 5 + 5 * 2
    assert box_distillation_loss(student, boxes, torch.tensor(0.5)).item() == 0.5 * (5 + 2)
    # From a distance of 10 on the gradient no longer grows; Eq. 9's mean over all anchors has no
    # such limit.
    far = torch.tensor([[0.0, 10.0], [0.0, 30.0]], requires_grad=True)
    loss = box_distillation_loss(far, student, torch.tensor(1.0))
    loss.backward()
    assert loss.item() == (10**2 + 2 * 10 * 30 - 10**2) / 2
    assert far.grad.tolist() == [[0, 10], [0, 10]]
    assert box_distillation_loss(far, student).item() == (10**2 + 30**2) / 4


def test_binary_loss_by_hand():
    # Probabilities 3/4 and 1/2 of the teacher in the first row, 1/2 everywhere else.
    teacher = torch.tensor([[LN3, 0.0], [0.0, 0.0]])
    student = torch.zeros(2, 2)
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert binary_distillation_loss(student, teacher).item() == pytest.approx(divergence / 2)
    for weight in (torch.tensor([3.0, 7.0]), torch.tensor(3.0)):
        loss = binary_distillation_loss(student, teacher, weight=weight)
        assert loss.item() == pytest.approx(3 * divergence, rel=1e-6)
    # (p_s - p_t) w is the gradient of a binary cross-entropy.
    student.requires_grad_()
    binary_distillation_loss(student, teacher, weight=torch.tensor([3.0, 7.0])).backward()
    expected = torch.tensor([[-0.75, 0.0], [0.0, 0.0]])
    assert torch.allclose(student.grad, expected, atol=1e-6)


@pytest.mark.parametrize('temperature', [0.5, 1, 4, float('inf')])
def test_class_loss_is_zero_at_equality_and_positive_elsewhere(temperature):
    logits = 3 * torch.randn(20, 7)
    assert class_distillation_loss(logits, logits.clone(), temperature).item() == 0
    assert class_distillation_loss(logits, torch.randn(20, 7), temperature) > 0


@pytest.mark.parametrize('temperature', [1, 2.5, 10])
def test_class_gradient(temperature):
    """(p_s - p_t) T / n: Hinton's scaling, so that the gradient hardly depends on T."""
    student = torch.randn(4, 5, 3, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(4, 5, 3, dtype=torch.float64)
    class_distillation_loss(student, teacher, temperature).backward()
    p_s, p_t = ((x / temperature).softmax(-1) for x in (student.detach(), teacher))
    assert torch.allclose(student.grad, (p_s - p_t) * temperature / 20, rtol=1e-10)


def test_infinite_temperature_is_the_limit():
    student, teacher = (torch.randn(50, 6, dtype=torch.float64) for _ in 'st')
    limit = class_distillation_loss(student, teacher, float('inf')).item()
    assert class_distillation_loss(student, teacher, 1e4).item() == pytest.approx(limit, rel=1e-3)
    # Of two classes only the difference counts.
    shifted = class_distillation_loss(student + torch.randn(50, 1), teacher, float('inf')).item()
    assert shifted == pytest.approx(limit)


def test_class_loss_stays_finite_where_probabilities_underflow():
    student = torch.tensor([[500.0, -500.0]], requires_grad=True)
    loss = class_distillation_loss(student, torch.tensor([[-500.0, 500.0]]))
    loss.backward()
    assert loss.isfinite() and student.grad.isfinite().all()


@pytest.mark.parametrize(
    'loss', [regression_loss, l1_regression_loss, class_distillation_loss, box_distillation_loss]
)
def test_teacher_gets_no_gradient(loss):
    student, teacher = (torch.randn(3, 4, requires_grad=True) for _ in 'st')
    loss(student, teacher).backward()
    assert student.grad is not None and teacher.grad is None


def test_end_point_error():
    predicted = torch.zeros(1, 2, 1, 2, requires_grad=True)
    target = torch.tensor([3.0, 0.0, 4.0, 0.0]).reshape(1, 2, 1, 2)
    error = end_point_error(predicted, target)
    error.backward()
    assert error.item() == pytest.approx(2.5) and predicted.grad.isfinite().all()
