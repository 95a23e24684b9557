"""Two optimizer steps on two devices, as the authors' training module made them."""

import copy

import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper

from tests.test_golden.original import (
    SEMANTIC,
    enter_step,
    in_original_order,
    load,
    norm,
    pair,
    parameters,
    probes,
    read_json,
    sample,
    stage_two,
    student,
)

pytestmark = pytest.mark.usefixtures('exact_activations')
RATE = 5e-5
KEY, CURRENT = 0, 1

# For each step and device: current frame, key frame, mirrored; the goldens call them data and
# data_ref.
REGRESSION = [
    [(CURRENT, KEY, False), (CURRENT, KEY, True)],
    [(KEY, CURRENT, False), (KEY, CURRENT, True)],
]
SEMANTIC_STEPS = [REGRESSION[0], [(KEY, CURRENT, False), (CURRENT, CURRENT, True)]]


def test_regression_steps(model):
    enter_step(model, 'reg')
    run(model, REGRESSION, read_json('semi_reg_step_golden.json'), ('loss_reg',))


def test_semantic_steps(model):
    enter_step(model, 'sem')
    load(model, parameters('student:', parts=('task_network',)))
    run(model, SEMANTIC_STEPS, read_json('semi_sem_step_golden.json'), SEMANTIC)


def run(model, steps: list, golden: dict, names: tuple[str, ...]) -> None:
    """Makes the steps; each is a batch of two pairs, with the two devices' mean gradient."""
    wrapper = build_optim_wrapper(model, copy.deepcopy(stage_two().optim_wrapper))
    learning = {k: v for k, v in student(model).items() if v[0].requires_grad}
    start = {name: p.detach().clone() for name, (p, _) in learning.items()}
    assert wrapper.optimizer.defaults['lr'] == RATE
    for i, devices in enumerate(steps):
        inputs, samples = batch(devices)
        losses = model(inputs, samples, mode='loss')
        expected = np.mean(golden['losses_per_step_and_device'][i], axis=0)
        values = [losses[name].item() for name in names]
        np.testing.assert_allclose(values, expected, rtol=1e-5)
        wrapper.update_params(sum(losses.values()))
        check_changes(learning, start, golden['delta_probes'][i])


def batch(devices: list) -> tuple[torch.Tensor, list]:
    """Pairs (N, 2, 3, H, W) and their data samples."""
    inputs, samples = [], []
    for current, key, mirrored in devices:
        frames = pair(mirrored)
        inputs.append(torch.stack((frames[key], frames[current])))
        samples.append(sample(same=key == current))
    return torch.stack(inputs), samples


def check_changes(learning: dict, start: dict, golden: dict) -> None:
    """Norms of the changes to 1e-4 relative, single changes to 0.002 learning rates."""
    assert set(golden) == set(learning)
    for name, expected in golden.items():
        parameter, order = learning[name]
        change = in_original_order(parameter.detach() - start[name], order)
        assert abs(norm(change) - expected['norm']) <= 1e-4 * expected['norm'], name
        assert np.abs(probes(change) - np.array(expected['values'])).max() < 0.002 * RATE, name
    assert golden['Convolution5_scale_bias']['norm'] == 0
