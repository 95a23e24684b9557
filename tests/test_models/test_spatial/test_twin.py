"""Shallow copies of modules with other parts."""

import torch
from torch import Tensor, nn

from semidff.models.spatial.twin import twin


class Stack(nn.Module):
    """Levels with the same layer, as in RTMDet's head."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.Linear(2, 2)
        self.levels = nn.ModuleList([nn.Sequential(layer), nn.Sequential(layer)])
        self.last = nn.Linear(2, 1)

    def forward(self, values: Tensor) -> Tensor:
        for level in self.levels:
            values = level(values)
        return self.last(values)


class WithoutLevels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stack = Stack()

    def forward(self, values: Tensor) -> Tensor:
        return twin(self.stack, levels=nn.ModuleList([nn.Identity()]))(values)


def test_twins_of_modules_with_shared_layers_are_exported():
    torch.manual_seed(0)
    module, values = WithoutLevels(), torch.randn(3, 2)
    program = torch.export.export(module, (values,), strict=False)
    assert torch.equal(program.module()(values), module.stack.last(values))
