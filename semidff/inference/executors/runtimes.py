"""Libraries that run exported graphs, from arrays to arrays by name."""

import ctypes
import functools
import os
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from mmengine.device import get_device
from torch import Tensor

from semidff.models.graphs import Graph

from .onnx_export import export_graph
from .openvino_graph import trace_graph

Arrays = dict[str, np.ndarray]

# Both report their use to their makers from their import on, with an identification in the user's
# home folder.
os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')
sys.modules.setdefault('openvino_telemetry', None)  # OpenVINO does without the package


class Runtime(ABC):
    """A compiled graph.

    Args:
        graph: An ONNX file, or what :meth:`export` returns.
        threads: Number of CPU threads of each of as many ``streams`` that may run at the same time.
        precision: Of convolutions and matrix products, as of
            :class:`~semidff.inference.Acceleration`.

    Attributes:
        exports_files: Whether :meth:`export`, which takes long, returns the content of an ONNX
            file.
    """

    exports_files = False

    @abstractmethod
    def __init__(self, graph: Any, threads: int, streams: int, precision: str = 'fp32') -> None: ...

    @staticmethod
    @abstractmethod
    def export(graph: Graph, inputs: Mapping[str, Tensor]) -> Any:
        """Export a graph for the sizes of example inputs."""

    @classmethod
    @abstractmethod
    def check(cls, precision: str = 'fp32', **options: Any) -> None:
        """Import the library; raise ImportError, or ValueError without such a precision."""

    @abstractmethod
    def __call__(self, inputs: Arrays) -> Arrays:
        """Return the outputs, which the next call of this thread may overwrite."""


class OnnxRuntime(Runtime):
    """A graph in onnxruntime. ``providers`` are its execution providers, in order of preference."""

    export, exports_files = staticmethod(export_graph), True

    def __init__(
        self,
        graph: Path | bytes,
        threads: int,
        streams: int,
        precision: str = 'fp32',
        providers: Sequence[str] = ('CPUExecutionProvider',),
    ) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(graph, options, providers=list(providers))
        self._outputs = [one.name for one in self._session.get_outputs()]

    @classmethod
    def check(cls, precision: str = 'fp32', **options: Any) -> None:
        import onnxruntime  # noqa: F401 (of the extra ``onnx``)

        if precision != 'fp32':
            raise ValueError(f'onnxruntime computes in fp32, not in {precision}')

    def __call__(self, inputs: Arrays) -> Arrays:
        return dict(zip(self._outputs, self._session.run(None, inputs), strict=True))


_LOADED: WeakSet['OpenVino'] = WeakSet()


class OpenVino(Runtime):
    """A graph in OpenVINO on a ``device``, with an infer request for each thread."""

    export = staticmethod(trace_graph)
    _precisions = dict(fp32='f32', bf16='bf16', fp16='f16')

    def __init__(
        self,
        graph: Any,
        threads: int,
        streams: int,
        precision: str = 'fp32',
        device: str = 'CPU',
    ) -> None:
        settings = dict(INFERENCE_PRECISION_HINT=self._precisions[precision])
        if device == 'CPU':
            # Threads that are bound to cores wait for whatever else runs there.
            settings.update(NUM_STREAMS=streams, ENABLE_CPU_PINNING=False)
            settings.update(INFERENCE_NUM_THREADS=threads * streams)
        self._compiled = _core().compile_model(graph, device, settings)
        # Beside its own one, a port may have names of layers that were left out.
        self._inputs, self._outputs = (
            [port.get_names() for port in ports]
            for ports in (self._compiled.inputs, self._compiled.outputs)
        )
        self._requests = threading.local()
        _LOADED.add(self)

    @classmethod
    def check(cls, precision: str = 'fp32', **options: Any) -> None:
        import openvino  # noqa: F401 (of the extra ``openvino``)

    def __call__(self, inputs: Arrays) -> Arrays:
        if not hasattr(self._requests, 'own'):
            self._requests.own = self._compiled.create_infer_request()
        inputs = {name: inputs[name] for names in self._inputs for name in names & inputs.keys()}
        found = self._requests.own.infer(inputs, share_inputs=True, share_outputs=True)
        outputs = zip(self._outputs, found.to_tuple(), strict=True)
        return {name: array for names, array in outputs for name in names}


@functools.cache
def _core() -> Any:
    """Return OpenVINO, which stays loaded.

    Its CPU plugin replaces the stack of signal handlers of the thread that loads it. A second one,
    or one that is unloaded by another thread, leaves the thread with freed memory, and the next
    signal ends the process.
    """
    import openvino

    os.register_at_fork(after_in_child=_never_unload)
    return openvino.Core()


def _never_unload() -> None:
    """Keep all graphs: at the end of a forked process, OpenVINO would wait for threads that only
    its parent has.
    """
    for loaded in (_core(), *_LOADED):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(loaded))


RUNTIMES: dict[str, type[Runtime]] = dict(onnxruntime=OnnxRuntime, openvino=OpenVino)


def default_runtime(
    device: str | None = None, compile: bool = False, graphs: bool | None = None
) -> str:
    """Return ``openvino`` on CPUs if it is installed, else ``torch``, as with its own options."""
    on_cpu = torch.device(device or get_device()).type == 'cpu'
    usable = on_cpu and not compile and not graphs
    return 'openvino' if usable and find_spec('openvino') else 'torch'
