"""Export of a graph as ONNX with PyTorch's exporter (``torch.export``, not TorchScript)."""

import warnings
from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from semidff.models.graphs import Graph

OPSET = 19  # the warp needs GridSample, which exists since 16


class ExportError(RuntimeError):
    """A model that cannot be exported."""


def export_graph(graph: Graph, inputs: Mapping[str, Tensor], batch: bool = False) -> bytes:
    """Export a graph for the sizes of example inputs; return the ONNX file, weights included.

    The size of frames is fixed: the warp embeds features in a map whose sides are the next powers
        of two, and the flow network crops its maps to the sizes of others. With ``batch``, the
        number of frames is not.
    """
    if not graph.outputs:
        graph(*inputs.values())
    sizes = (({0: torch.export.Dim.DYNAMIC},) * len(inputs),) if batch else None
    # Where it is true, in any thread, mmdet runs code for ONNX that imports modules of mmdet 2.
    outside = patch.object(torch.onnx, 'is_in_onnx_export', lambda: False)
    with warnings.catch_warnings(), outside:
        # PyTorch's exporter warns about PyTorch's own code.
        warnings.simplefilter('ignore')
        try:
            program = torch.onnx.export(
                graph.eval(),
                tuple(inputs.values()),
                input_names=list(inputs),
                output_names=graph.outputs,
                opset_version=OPSET,
                dynamic_shapes=sizes,
                custom_translation_table={torch.ops.aten.sort.stable: _stable_sort},
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            cause: BaseException = error
            while cause.__cause__ is not None:
                cause = cause.__cause__
            text = f'{type(cause).__name__}: {str(cause).strip().partition(chr(10))[0]}'
            raise ExportError(f'PyTorch cannot export this model: {text}') from error
    return program.model_proto.SerializeToString()


def _stable_sort(maps: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
    """Translate a sort to ONNX, whose TopK keeps the order of equal values."""
    from onnxscript import opset18 as op

    size = op.Gather(op.Shape(maps), op.Constant(value_ints=[dim]))
    return op.TopK(maps, size, axis=dim, largest=int(descending))
