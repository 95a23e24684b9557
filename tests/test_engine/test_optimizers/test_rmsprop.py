import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from semidff.engine import RMSpropMX


def parameter(*values):
    return nn.Parameter(torch.tensor(values, dtype=torch.float64))


def test_first_steps_by_hand():
    w = parameter(1.0)
    optimizer = RMSpropMX([w], lr=0.1, alpha=0.5, eps=1.0)
    w.grad = torch.tensor([2.0], dtype=torch.float64)
    optimizer.step()
    # n = 0.5 * 4, then epsilon inside the root
    first = 1 - 0.1 * 2 / 3**0.5
    assert w.item() == pytest.approx(first)
    w.grad = torch.tensor([-1.0], dtype=torch.float64)
    optimizer.step()
    assert w.item() == pytest.approx(first + 0.1 / (0.5 * 2 + 0.5 + 1) ** 0.5)


def test_small_gradients_move_as_with_plain_descent():
    """Far below sqrt(eps) = 1e-4 the rate is lr / 1e-4; PyTorch's would be hundreds of times larger."""
    w = parameter(0.0)
    optimizer = RMSpropMX([w], lr=5e-5)
    w.grad = torch.tensor([1e-7], dtype=torch.float64)
    optimizer.step()
    assert w.item() == pytest.approx(-0.5 * 1e-7, rel=1e-4)


def test_without_gradient_nothing_moves():
    w, other = parameter(1.0), parameter(2.0)
    optimizer = RMSpropMX([w, other], lr=1.0, weight_decay=0.1)
    other.grad = torch.zeros(1, dtype=torch.float64)
    optimizer.step()
    assert w.item() == 1 and w not in optimizer.state
    assert other.item() < 2


def test_state_survives_saving():
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = RMSpropMX(model.parameters(), lr=0.01)

    def step(model, optimizer):
        optimizer.zero_grad()
        model(torch.ones(4, 3)).square().sum().backward()
        optimizer.step()

    step(model, optimizer)
    twin = copy.deepcopy(model)
    other = RMSpropMX(twin.parameters(), lr=0.5)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    step(model, optimizer)
    step(twin, other)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


def test_closure():
    w = parameter(3.0)
    optimizer = RMSpropMX([w], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = w.square().sum()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(50)]
    assert losses[-1] < 0.1 * losses[0]


def test_built_from_a_config_with_a_rate_of_zero():
    model = nn.Linear(2, 2)
    wrapper = build_optim_wrapper(
        model,
        dict(
            optimizer=dict(type='RMSpropMX', lr=0.1),
            paramwise_cfg=dict(custom_keys=dict(bias=dict(lr_mult=0))),
        ),
    )
    before = copy.deepcopy(model)
    wrapper.update_params(model(torch.ones(1, 2)).square().sum())
    assert torch.equal(model.bias, before.bias) and not torch.equal(model.weight, before.weight)


@pytest.mark.parametrize(
    'wrong', [dict(lr=-1), dict(eps=0), dict(alpha=1), dict(weight_decay=-0.1)]
)
def test_wrong_settings_are_named(wrong):
    (name, value), *_ = wrong.items()
    with pytest.raises(ValueError, match=f'{name}={value}'):
        RMSpropMX([parameter(1.0)], **wrong)
