"""Tracing of a graph for OpenVINO: in memory and in seconds, without ONNX."""

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from operator import getitem
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph as Operators
from torch.fx import GraphModule, Node
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary

from semidff.models.graphs import Graph
from semidff.models.temporal.warp import recording

# Else PyTorch runs operators in place on tensors without data first, whose code takes two seconds
# to import.
os.environ.setdefault('TORCH_DISABLE_FUNCTIONALIZATION_META_REFERENCE', '1')

_aten = torch.ops.aten


def _logit(chance: Tensor, eps: float) -> Tensor:
    chance = chance.clamp(eps, 1 - eps)
    return (chance / (1 - chance)).log()


def _split(maps: Tensor, sizes: Sequence[int], dim: int = 0) -> list[Tensor]:
    ends = accumulate(sizes)
    return [_aten.slice(maps, dim, end - n, end) for n, end in zip(sizes, ends, strict=True)]


_REPLACED = {  # have no rules, or slow ones
    _aten.split_with_sizes.default: _split,
    _aten.unbind.int: lambda maps, dim=0: [maps.select(dim, n) for n in range(maps.shape[dim])],
    _aten.lerp.Tensor: lambda start, end, weight: start + weight * (end - start),
    _aten.logit.default: _logit,
}
_CONSTANT = _aten.lift_fresh.default, _aten.lift_fresh_copy.default, _aten.new_empty.default


def trace_graph(graph: Graph, inputs: Mapping[str, Tensor]) -> Any:
    """Return a graph for the sizes of example inputs as an ``openvino.Model``, weights included.

    The operators of ATen that the graph runs are recorded, where sizes are numbers; PyTorch
    replaces those that work in place, for which OpenVINO has no rules. Other threads may use the
    same weights meanwhile, but not the same modules, some of which keep tensors.
    """
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    with recording():
        traced = _Recorder().record(graph, inputs)
    frontend = FrontEndManager().load_by_framework('pytorch')
    shapes, types = zip(*((maps.shape, maps.dtype) for maps in inputs.values()), strict=True)
    # must live until the end
    decoder = TorchFXPythonDecoder(traced, input_shapes=shapes, input_types=types)
    model = frontend.convert(frontend.load(decoder))
    for ports, names in ((model.inputs, inputs), (model.outputs, graph.outputs)):
        for port, name in zip(ports, names, strict=True):
            port.get_tensor().set_names({name})
    return model


class _Recorder(TorchDispatchMode):
    """Records the operators that run in this thread.

    In place of ``torch.fx``'s own tracers, which replace methods of all modules in all threads, and
    import the compiler.
    """

    def __init__(self) -> None:
        super().__init__()
        self._operators, self._constants = Operators(), nn.Module()
        self._nodes: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

    def record(self, function: Callable[..., Sequence[Tensor]], inputs: Mapping) -> GraphModule:
        """Return what a function computes from inputs by name."""
        for name, tensor in inputs.items():
            self._nodes[tensor] = self._operators.placeholder(name)
        torch._enable_functionalization(reapply_views=True)
        try:
            with self:
                wrapped = function(*map(torch._to_functional_tensor, inputs.values()))
                for output in wrapped:
                    torch._sync(output)
        finally:
            torch._disable_functionalization()
        self._operators.output(tuple(map(self._node, map(torch._from_functional_tensor, wrapped))))
        self._operators.eliminate_dead_code()
        return GraphModule(self._constants, self._operators)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:  # which would import it
        return False

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if operator in _REPLACED:
            with self:
                return _REPLACED[operator](*args)
        if operator in (_aten.fill.Tensor, _aten.fill.Scalar):  # has one, for numbers alone
            operator, args = _aten.full_like.default, (args[0], float(args[1]))
        results = operator(*args, **(kwargs or {}))
        if operator in _CONSTANT:
            return results
        nodes = tree_map_only(Tensor, self._node, (args, kwargs or {}))
        node = self._operators.call_function(operator, *nodes)
        if isinstance(results, Tensor):
            self._nodes[results] = node
        elif isinstance(results, tuple | list):
            for index, result in enumerate(results):
                if isinstance(result, Tensor):
                    self._nodes[result] = self._operators.call_function(getitem, (node, index))
        return results

    def _node(self, tensor: Tensor) -> Node:
        """Return the node of a tensor; a constant, if no recorded operator has made it."""
        if tensor not in self._nodes:
            name = f'constant_{len(self._constants._buffers)}'
            self._constants.register_buffer(name, tensor.detach())
            self._nodes[tensor] = self._operators.get_attr(name)
        return self._nodes[tensor]
