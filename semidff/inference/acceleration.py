"""Speed options of a video detector: memory layout, precision, compiled and captured graphs,
runtime.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from semidff.models.precision import to_channels_last, to_half
from semidff.models.video_detector import VideoDetector

from .executors import RUNTIMES, CudaGraphs, Executor, ExportedGraphs

PRECISIONS: dict[str, torch.dtype | None] = {
    'fp32': None,
    'bf16': torch.bfloat16,
    'fp16': torch.float16,
}


class Acceleration(NamedTuple):
    """Speed options.

    Attributes:
        precision: ``fp32``, ``bf16`` or ``fp16``. With the latter two, convolutions and matrix
            products run in half precision (autocast); flow, warp, boxes and all post-processing
            stay in full precision.
        channels_last: Memory layout of convolutions.
        compile: Whether ``torch.compile`` makes graphs of the feature network, the dense head, the
            flow network and the scale field. Compilation takes a minute or two, at the first frame
            of each size.
        graphs: Whether frames run as CUDA graphs, with one launch each; None: on a GPU, unless
            compiled. Settings and hooks of the model are those at the second batch of each size,
            when it is captured.
        runtime: Library that computes the frames: ``torch``, or ``onnxruntime`` or ``openvino`` for
            graphs, see :class:`~semidff.inference.executors.ExportedGraphs`.
    """

    precision: str = 'fp32'
    channels_last: bool = False
    compile: bool = False
    graphs: bool | None = None
    runtime: str = 'torch'

    def __str__(self) -> str:
        options = ['channels-last' * bool(self.channels_last), 'compiled' * self.compile]
        options.append({True: 'graphs', False: 'no graphs', None: ''}[self.graphs])
        options.append('' if self.runtime == 'torch' else self.runtime)
        return ', '.join(filter(None, [self.precision, *options]))


def accelerate(
    model: nn.Module,
    options: Acceleration,
    backend: str = 'inductor',
    cache: str | Path | None = None,
    waits: bool = True,
) -> Executor:
    """Change a model in place to predict with speed options, and return its executor.

    It is a ``VideoDetector`` on its device, or any mmdet detector, which is wrapped into one, and
    for prediction only from then on. A deep copy of it has the same options but is not compiled.
    ``cache`` and ``waits`` are those of the exported graphs.
    """
    if options.precision not in PRECISIONS:
        raise ValueError(
            f'precision {options.precision!r} is unknown; choose one of {", ".join(PRECISIONS)}'
        )
    if options.compile and options.graphs:
        raise ValueError('compile and graphs exclude each other')
    model = VideoDetector.wrap(model)
    on_gpu = next(model.parameters()).is_cuda
    if options.runtime != 'torch':
        if options.runtime not in RUNTIMES or options.compile or options.graphs:
            raise ValueError(
                f'runtime {options.runtime!r}: choose one of torch, {", ".join(RUNTIMES)}; '
                'compile and graphs are options of torch'
            )
        runtime, precision = options.runtime, options.precision
        return ExportedGraphs(model, None, runtime, cache, waits, precision=precision)
    model.autocast = dtype = PRECISIONS[options.precision]
    if options.channels_last:
        to_channels_last(model)
    if dtype is not None:
        to_half(model, dtype)
    if options.compile:
        # On a CPU, weights become constants, laid out once for its convolutions.
        freezing = backend == 'inductor' and not on_gpu
        _compile(model, backend=backend, options={'freezing': True} if freezing else None)
    graphs = options.graphs
    if graphs is None:
        graphs = on_gpu and not options.compile
    return CudaGraphs(model) if graphs else model


def _compile(model: VideoDetector, **settings: Any) -> None:
    """Compile graphs for key frames (feature network, dense head) and non-key frames (flow network,
    scale field).
    """
    spatial = model.spatial
    parts = [*spatial.feature_network, spatial.heads.dense_head]
    # Of what a split point cuts, the layers are called.
    cut = 'backbone.', 'neck', f'{spatial.heads.head_name}.'
    parts += [module for name, module in spatial.task_network.items() if name.startswith(cut)]
    parts += [getattr(model.temporal, name, None) for name in ('flow_network', 'scale')]
    for part in _called(filter(None, parts)):
        # OpenCV's flow has no parameters and nothing that could be compiled.
        if any(True for _ in part.parameters()):
            part.compile(**settings, isolate_recompiles=True)


def _called(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """Yield modules; the layers of stages and towers, which split points iterate over."""
    for module in modules:
        if isinstance(module, nn.Sequential | nn.ModuleList):
            yield from _called(module)
        else:
            yield module
