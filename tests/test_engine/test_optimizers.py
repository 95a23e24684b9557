"""Mixed precision on the CPU, and RMSProp of MXNet."""

import time

import pytest
import torch
from torch import nn

from semidff.engine import BFloat16OptimWrapper, RMSpropMX
from semidff.engine import optimizers as module


def _wrapper(enabled) -> tuple[nn.Module, BFloat16OptimWrapper]:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return model, BFloat16OptimWrapper(optimizer=optimizer, enabled=enabled)


def test_forward_is_bfloat16_and_weights_stay_float32():
    model, wrapper = _wrapper(True)
    with wrapper.optim_context(model):
        output = model(torch.ones(2, 4))
    assert output.dtype is torch.bfloat16
    before = model.weight.detach().clone()
    wrapper.update_params(output.float().sum())
    assert model.weight.dtype is torch.float32
    assert torch.allclose(model.weight, before - 0.1 * 2, atol=1e-3)


@pytest.mark.parametrize(
    'capable, half, expected', [(True, 0.001, True), (True, 0.004, False), (False, 0.001, False)]
)
def test_auto_times_a_convolution(monkeypatch, capable, half, expected):
    """Some processors have bfloat16 instructions that are slower than those of float32."""
    seconds = {torch.float32: 0.003, torch.bfloat16: half}
    monkeypatch.setattr(module.F, 'conv2d', lambda maps, *_, **__: time.sleep(seconds[maps.dtype]))
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: 'AVX512')
    monkeypatch.setattr(torch.cpu, '_is_avx512_bf16_supported', lambda: capable)
    module.bfloat16_pays.cache_clear()
    try:
        assert _wrapper('auto')[1].enabled is expected
    finally:
        module.bfloat16_pays.cache_clear()


@pytest.mark.parametrize('began', [True, False])
def test_a_resumed_training_keeps_its_precision(monkeypatch, began):
    """On another machine, too; but a precision that the config asks for is that of the config."""
    monkeypatch.setattr(module, 'bfloat16_pays', lambda device: not began)
    model, resumed = _wrapper('auto')
    state = _wrapper(began)[1].state_dict()
    resumed.load_state_dict(state)
    with resumed.optim_context(model):
        assert (model(torch.ones(2, 4)).dtype is torch.bfloat16) is began
    assert resumed.state_dict() == state
    asked = _wrapper(not began)[1]
    asked.load_state_dict(state)
    assert asked.enabled is not began


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
    """Far below sqrt(eps) = 1e-4 the rate is lr / 1e-4; PyTorch's would be far larger."""
    w = parameter(0.0)
    optimizer = RMSpropMX([w], lr=5e-5)
    w.grad = torch.tensor([1e-7], dtype=torch.float64)
    optimizer.step()
    assert w.item() == pytest.approx(-0.5 * 1e-7, rel=1e-4)
