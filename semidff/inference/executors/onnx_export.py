"""Export of a graph as ONNX with PyTorch's exporter (``torch.export``, not TorchScript)."""

import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmcv.ops import RoIAlign
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from torch import Tensor

from semidff.models.graphs import Graph
from semidff.models.precision import COMPILED_OPERATORS

OPSET = 19  # the warp needs GridSample, which exists since 16


class ExportError(RuntimeError):
    """A model that cannot be exported."""


class _Turns:
    """Threads that run a detector, or one that exports: PyTorch's exporter replaces functions of the process."""

    def __init__(self) -> None:
        self._changed, self._running, self._waiting = threading.Condition(), 0, 0

    @contextmanager
    def running(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    @contextmanager
    def exporting(self) -> Iterator[None]:
        """Wait for all threads in :meth:`running`; others wait until the block ends."""
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: not self._running)
                yield
            finally:
                self._waiting -= 1
                self._changed.notify_all()


TURNS = _Turns()


def export_graph(
    graph: Graph, inputs: Mapping[str, Tensor], outputs: Sequence[str], batch: bool = False
) -> bytes:
    """Export a graph for the sizes of example inputs; return the ONNX file, weights included.

    The size of frames is fixed: the warp embeds features in a map whose sides are the next powers of two, and the flow
    network crops its maps to the sizes of others. With ``batch``, the number of frames is not.
    """
    sizes = (({0: torch.export.Dim.DYNAMIC},) * len(inputs),) if batch else None
    with warnings.catch_warnings():
        # PyTorch's exporter warns about PyTorch's own code.
        warnings.simplefilter('ignore')
        try:
            program = torch.onnx.export(
                graph.eval(),
                tuple(inputs.values()),
                input_names=list(inputs),
                output_names=list(outputs),
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
            kinds = {type(module) for module in graph.modules()}
            # RoIs are pooled behind the graph.
            names = sorted(
                kind.__name__
                for kind in kinds
                if issubclass(kind, COMPILED_OPERATORS)
                and not issubclass(kind, BaseRoIExtractor | RoIAlign)
            )
            if names:
                text = f'{", ".join(names)} call compiled operators of mmcv, which have no ONNX form ({text})'
            raise ExportError(f'PyTorch cannot export this model: {text}') from error
    return program.model_proto.SerializeToString()


def _stable_sort(maps: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
    """Translate a sort to ONNX, whose TopK keeps the order of equal values."""
    from onnxscript import opset18 as op

    size = op.Gather(op.Shape(maps), op.Constant(value_ints=[dim]))
    return op.TopK(maps, size, axis=dim, largest=int(descending))
