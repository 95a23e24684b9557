"""The feature regression loss and its gradients against the authors' code (semi-DFF Eq. 4)."""

import pytest
import torch

from semidff.models import FeatureRegression
from tests.test_golden.gradients import by_original_name, check_full, check_probes
from tests.test_golden.original import arrays, compared, pair, read_json, sample

pytestmark = pytest.mark.usefixtures('exact_activations')
FILE = 'semi_reg_golden.npz'


def losses(model):
    """The regression step's losses, as training computes them."""
    model.set_objectives([dict(type='FeatureRegression')], ('temporal',))
    inputs = torch.stack(pair())[None]
    return model(inputs, [sample()], mode='loss')


def test_loss_and_gradients(model):
    loss = losses(model)['loss_reg']
    golden = arrays(FILE)
    assert abs(loss.item() / golden['loss_float64'] - 1) < 1e-5
    gradients = by_original_name(model, loss)
    assert len(gradients) == 48
    check_probes(gradients, read_json('semi_reg_golden_grads.json')['grad_probes'])
    assert check_full(gradients, FILE, 'grad:') == 29


def test_start_of_training(model):
    with torch.no_grad():
        model.temporal.scale.weight.zero_()
        model.temporal.scale.bias.fill_(1)
    loss = losses(model)['loss_reg']
    assert abs(loss.item() / arrays(FILE)['start_loss'] - 1) < 1e-5
    gradients = by_original_name(model, loss)
    check_probes(gradients, read_json('semi_reg_golden_grads.json')['grad_probes_start'])
    assert check_full(gradients, FILE, 'start_grad:') == 29


def test_no_gradient_reaches_the_features(model):
    loss = losses(model)['loss_reg']
    loss.backward()
    assert all(p.grad is None for p in model.spatial.parameters())
    assert not compared(model).target[0].requires_grad


def test_pair_of_one_frame_has_no_loss(model):
    loss = FeatureRegression()(compared(model, same=True, pairs=[pair()[:1] * 2]))['loss_reg']
    assert loss.item() == 0
