"""Tracing of a graph for OpenVINO: in memory and in seconds, without ONNX."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functionalize
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx

from semidff.models.graphs import Graph

_FILLS = torch.ops.aten.fill.Tensor, torch.ops.aten.fill.Scalar, torch.ops.aten.full_like.default


def trace_graph(graph: Graph, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> Any:
    """Return a graph for the sizes of example inputs as an ``openvino.Model``, weights included.

    It is traced on the level of ATen's operators, where sizes are numbers and nothing is changed in
    place. OpenVINO has no rules for operators in place, and jit.trace makes tensors of sizes.
    """
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # mmdet converts tensors to numbers
        traced = make_fx(functionalize(graph.forward))(*inputs.values())
    _fill_with_numbers(traced)
    frontend = FrontEndManager().load_by_framework('pytorch')
    decoder = TorchFXPythonDecoder(traced)  # must live until the end
    model = frontend.convert(frontend.load(decoder))
    for ports, names in ((model.inputs, inputs), (model.outputs, outputs)):
        for port, name in zip(ports, names, strict=True):
            port.get_tensor().set_names({name})
    return model


def _fill_with_numbers(traced: GraphModule) -> None:
    """Replace the constants (``_tensor_constant0``) with which tensors are filled."""
    for node in traced.graph.nodes:
        if node.target not in _FILLS:
            continue
        value = node.args[1]
        while isinstance(value, Node) and value.op == 'call_function':
            value = value.args[0]  # lift_fresh_copy
        if isinstance(value, Node):
            node.update_arg(1, getattr(traced, value.target).item())
        node.target = torch.ops.aten.full_like.default
    traced.recompile()
