"""The feature semantic loss and its gradients against the authors' code (semi-DFF Eqs. 5-9)."""

import numpy as np
import pytest
import torch

from semidff.models import FeatureSemantics
from tests.test_golden.gradients import NORM, by_original_name, check_full, check_probes
from tests.test_golden.original import (
    SEMANTIC,
    arrays,
    compared,
    enter_step,
    give_proposals,
    in_original_classes,
    load,
    norm,
    pair,
    parameters,
    read_json,
    relative,
)
from tests.test_golden.test_network import by_name, check_heads

pytestmark = pytest.mark.usefixtures('exact_activations')
FILE, GRADS = 'semi_sem_golden.npz', 'semi_sem_golden_grads.json'
LOSS = 1e-5


@pytest.fixture(params='ab')
def case(request, model):
    """Case a: the student starts with the teacher's heads; case b: with others."""
    enter_step(model, 'sem')
    if request.param == 'b':
        load(model, parameters('student:', parts=('task_network',)))
    give_proposals(model, arrays(FILE)['teacher_rois'])
    return request.param


def total(losses: dict) -> torch.Tensor:
    assert tuple(losses) == SEMANTIC
    return sum(losses.values())


def check_losses(losses: dict, golden: np.ndarray) -> None:
    values = np.array([losses[name].item() for name in SEMANTIC])
    np.testing.assert_allclose(values, golden, rtol=LOSS)


def test_teacher_and_student_outputs(model, case):
    golden = arrays(FILE)
    batch = compared(model)
    teacher, proposals = batch.teacher.outputs(batch.target, batch.samples, {}, None)
    student, _ = batch.student.head_outputs(batch.propagated, batch.samples, proposals)
    teacher, student = by_name(teacher), by_name(student)
    for heads, who in ((teacher, 'teacher'), (student, f'{case}_student')):
        check_heads(heads, golden, f'{who}_rpn_cls_score', f'{who}_rpn_bbox_pred')
        assert relative(in_original_classes(heads['roi_cls']), golden[f'{who}_cls_score']) < 1e-5
        assert relative(heads['roi_box'].detach().view(-1, 8), golden[f'{who}_bbox_pred']) < 1e-5
    assert not any(values.requires_grad for values in teacher.values())


def test_losses_and_gradients_at_all_temperatures(model, case):
    golden = arrays(FILE)
    batch = compared(model)
    for temperature in golden['temperatures'].tolist():
        setting = f'{case}_T{temperature}'
        losses = FeatureSemantics(temperature)(batch)
        check_losses(losses, golden[f'{setting}_losses_float64'])
        gradients = by_original_name(model, total(losses))
        assert len(gradients) == 56
        check_probes(gradients, read_json(GRADS)['grad_probes'][setting])
        assert check_full(gradients, FILE, f'grad:{setting}:') >= 32


def test_each_loss_alone(model, case):
    losses = FeatureSemantics()(compared(model))
    names = dict(zip(SEMANTIC, read_json(GRADS)['loss_order'], strict=True))
    for name, loss in losses.items():
        gradients = by_original_name(model, loss)
        golden = read_json(GRADS)['per_loss_norms'][f'{case}_T1_{names[name]}']
        for parameter, size in golden.items():
            assert abs(norm(gradients[parameter]) - size) <= NORM * size, parameter
        # The other heads get nothing.
        heads = {k for k in gradients if k.startswith(('rpn_', 'rfcn_'))}
        assert not any(gradients[k].any() for k in heads - set(golden))


def test_still_image(model, case):
    golden = arrays(FILE)
    give_proposals(model, golden['eq1_teacher_rois'])
    losses = FeatureSemantics()(compared(model, same=True, pairs=[pair()[:1] * 2]))
    gradients = by_original_name(model, total(losses))
    if case == 'a':
        assert all(loss.item() == 0 for loss in losses.values())
        # The derivative of a divergence at equality is p - p, zero up to one rounding.
        assert max(np.abs(g).max() for g in gradients.values()) < 1e-7
        return
    check_losses(losses, golden['b_eq1_losses_float64'])
    check_probes(gradients, read_json(GRADS)['grad_probes']['b_eq1_T1'])
    check_full(gradients, FILE, 'grad:b_eq1_T1:')
    assert not any(g.any() for k, g in gradients.items() if not k.startswith(('rpn_', 'rfcn_')))


@pytest.mark.parametrize('case', ['b'], indirect=True)
def test_weight_of_the_classes(model, case):
    """The authors' factor stands at the class losses; here it is box_weight against weight."""
    losses = FeatureSemantics(weight=0.5, box_weight=2)(compared(model))
    check_losses(losses, arrays(FILE)['b_T1_weight0.5_losses'])
    gradients = by_original_name(model, total(losses))
    check_probes(gradients, read_json(GRADS)['grad_probes']['b_T1_weight0.5'])
