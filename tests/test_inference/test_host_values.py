"""What is exchanged with the host is recorded, and given back."""

import gc
from weakref import ref

import pytest
import torch

from semidff.inference.executors.host_values import HostValues
from semidff.models.temporal.warp import warp


def recorded(function, *inputs):
    values = HostValues()
    for given in inputs:
        values.call(function, given, record=True)
    return values


def test_gives_back_what_was_read_and_sent():
    calls = []

    def function(maps):
        size = torch.tensor(maps.shape)
        calls.append(size)
        size += 1  # of its own
        rows = torch.linspace(0, size[-1] - 1, size[-1])
        return maps.sum() * 0 + rows.sum() + maps.new_tensor([size[0].item()])

    one, two = torch.rand(3, 4), torch.rand(3, 4)
    values = recorded(function, one, two)
    results = [values.call(function, given) for given in (one, two)]
    assert results[0].item() == results[1].item() == function(one).item() == 14
    assert len(calls) == 5


def test_refuses_what_depends_on_the_frame():
    with pytest.raises(RuntimeError, match='depend on the frame'):
        recorded(lambda maps: maps.sum().item(), torch.zeros(2), torch.ones(2))
    with pytest.raises(RuntimeError, match='depend on the frame'):
        recorded(lambda maps: maps[0].item() and maps.sum().item(), torch.zeros(2), torch.ones(2))


def test_holds_constants_of_a_cache():
    def function(flow):
        return warp(flow[:, :1] * 1, flow * 1)

    flow = torch.zeros(1, 2, 5, 7)
    values = recorded(function, flow)
    values.call(function, flow)
    held = [ref(tensor) for tensor in values.held.values() if tensor is not flow]
    assert held, 'the coordinates of the cells'
    for side in range(70):
        function(torch.zeros(1, 2, 3, side + 1))
    gc.collect()
    assert all(tensor() is not None for tensor in held)
    del values
    gc.collect()
    assert all(tensor() is None for tensor in held)
