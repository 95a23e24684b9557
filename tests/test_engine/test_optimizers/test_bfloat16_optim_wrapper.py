"""Mixed precision on the CPU."""

import pytest
import torch
from torch import nn

from semidff.engine import BFloat16OptimWrapper


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


def test_off_means_float32():
    model, wrapper = _wrapper(False)
    with wrapper.optim_context(model):
        assert model(torch.ones(2, 4)).dtype is torch.float32


def test_auto_asks_the_processor():
    _, wrapper = _wrapper('auto')
    capable = torch.cpu._is_avx512_bf16_supported()
    assert not wrapper.enabled or capable


def test_refuses_other_settings():
    with pytest.raises(ValueError, match="'sometimes'"):
        _wrapper('sometimes')
