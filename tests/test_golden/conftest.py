"""The original's network, built once for all tests of this folder."""

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from tests.test_golden import original


@pytest.fixture(scope='session')
def built():
    """The network and a copy of what training changes."""
    model = original.build()
    state = model.state_dict()
    changing = {k: v.clone() for k, v in state.items() if 'backbone' not in k and 'neck' not in k}
    return model, changing


@pytest.fixture
def model(built):
    """The network with the goldens' parameters."""
    model, state = built
    original.load(model, state)
    model.zero_grad(set_to_none=True)
    yield model
    model.teacher.spatial.heads.__dict__.pop('proposals', None)


@pytest.fixture
def exact_activations(model):
    """Sum the outputs of the flow network's layers in float64; gradients are in float32.

    Some outputs are closer to 0 than the rounding error of float32, where the slope of LeakyReLU
    changes. The order of summation differs between CPUs and would decide the gradients.
    """
    layers = [
        layer
        for layer in model.temporal.flow_network.modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    ]
    hooks = [layer.register_forward_hook(_exact) for layer in layers]
    yield
    for hook in hooks:
        hook.remove()


def _exact(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    if output.dtype == torch.float64:
        return output
    with torch.no_grad():
        weights = {name: weight.double() for name, weight in layer.named_parameters()}
        values = functional_call(layer, weights, (inputs[0].double(),)).float()
    return output + (values - output).detach()
