"""CUDA graphs of key frames and of non-key frames, from pixels to raw outputs or boxes: one launch
for a frame.

On a CPU, a graph calls the function in place of its capture, with the same static memory.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Any
from weakref import ref

import torch
from mmdet.structures import DetDataSample, SampleList
from torch import Tensor, nn

from semidff.models.graphs import Graph, KeyGraph, NonKeyGraph
from semidff.models.key_frame import FlowField, KeyFrame
from semidff.models.spatial.head_family import levels, numbered
from semidff.models.video_detector import VideoDetector
from semidff.utils.logs import log_warning

from .host_values import HostValues

MAX_GRAPHS = 8
MAX_BATCH = 16
"""Frames of a batch; larger ones run eagerly."""

_BOXES, _IMAGE, _RAW = 'boxes', 'image', 'raw '


class CapturedFunction:
    """A function from tensors to tensors by name, with static memory for inputs and outputs.

    The first one of its inputs, whose sizes those of all calls are, is the frames. ``pool`` and
    ``stream``, on a GPU, are the memory of the graphs and the stream of the capture. If the graph's
    outputs are not those of the function, an AssertionError is raised.
    """

    def __init__(
        self, function: Callable, inputs: Sequence[Tensor], pool: Any, stream: Any
    ) -> None:
        self._host = HostValues()
        self._inputs = [given.clone() for given in inputs]
        self._given = [lambda: None for _ in inputs]
        frames, *others = self._inputs
        on_gpu = frames.is_cuda
        if on_gpu:
            stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream) if on_gpu else nullcontext():
            function(frames, *others)  # makes constants that are kept, and chooses algorithms
            for other in (frames.flip(-1), frames):
                outputs = self._host.call(function, other, *others, record=True)
        self._graph = torch.cuda.CUDAGraph() if on_gpu else None
        if on_gpu:
            torch.cuda.current_stream().wait_stream(stream)
            with torch.cuda.graph(self._graph, pool, stream, capture_error_mode='thread_local'):
                self._outputs = self._host.call(function, *self._inputs)
        else:
            self._function = function
            self._outputs = {name: maps.clone() for name, maps in outputs.items()}
        self.replay()
        # Boxes with equal scores may change places.
        for name in outputs.keys() - {_BOXES}:
            size = outputs[name].abs().max().item()
            options = dict(rtol=1e-2, atol=1e-3 * size, equal_nan=True)
            torch.testing.assert_close(self._outputs[name], outputs[name], **options)

    def __call__(self, frames: Tensor, *others: Tensor) -> dict[str, Tensor]:
        """Return the outputs, which the next call overwrites; copy other inputs that changed."""
        self._inputs[0].copy_(frames, non_blocking=True)
        changed = [i for i, given in enumerate(others, 1) if self._given[i]() is not given]
        if changed:
            sources = [others[i - 1] for i in changed]
            torch._foreach_copy_([self._inputs[i] for i in changed], sources)
            for i, source in zip(changed, sources, strict=True):
                self._given[i] = ref(source)
        self.replay()
        return self._outputs

    def replay(self) -> None:
        if self._graph is not None:
            self._graph.replay()
            return
        for name, maps in self._host.call(self._function, *self._inputs).items():
            self._outputs[name].copy_(maps)


class CudaGraphs:
    """Executor with CUDA graphs: one for key frames and one for non-key frames of each size of the
    batch.

    A size runs eagerly the first time and is captured the second time. What cannot be captured runs
    eagerly, and so do frames whose flow field is known. Copies have no graphs yet.
    """

    def __init__(self, model: VideoDetector) -> None:
        self.model = model
        self._captured: OrderedDict[Hashable, CapturedFunction] = OrderedDict()
        self._possible: dict[Hashable, bool] = {}  # of sizes seen: whether they can be captured
        self._warned = False
        self._place: tuple = (None, None)  # pool and stream

    def __reduce__(self) -> tuple:
        return CudaGraphs, (self.model,)

    def prepare(self, key: Hashable, predict: Callable[..., Any]) -> None:
        """A size is captured when it occurs again."""

    def predict_key(self, inputs: Tensor, samples: SampleList) -> tuple[SampleList, KeyFrame]:
        outputs = self._run(KeyGraph, inputs, samples)
        if outputs is None:
            return self.model.predict_key(inputs, samples)
        image = outputs.get(_IMAGE)
        maps = [*levels('features', outputs), *([] if image is None else [image])]
        kept = [torch.empty_like(level) for level in maps]
        torch._foreach_copy_(kept, maps)
        key = KeyFrame(None, tuple(kept)) if image is None else KeyFrame(kept.pop(), tuple(kept))
        return _results(self.model, outputs, samples, {}), key

    def predict_non_key(
        self,
        inputs: Tensor,
        samples: SampleList,
        key: KeyFrame,
        flow_field: FlowField | None = None,
    ) -> SampleList:
        outputs, model = None, self.model
        # OpenCV's flow, which has no parameters, runs on the CPU.
        if flow_field is None and any(True for _ in model.temporal.parameters()):
            outputs = self._run(NonKeyGraph, inputs, samples, key.image, *key.features)
        if outputs is None:
            return model.predict_non_key(inputs, samples, key, flow_field)
        return _results(model, outputs, samples, model.non_key_test_cfg)

    def flow_field(self, inputs: Tensor, key: KeyFrame) -> FlowField:
        return self.model.flow_field(inputs, key)

    def with_temporal(self, temporal: nn.Module | None) -> 'CudaGraphs':
        return CudaGraphs(self.model.with_temporal(temporal))

    def independent(self) -> None:
        return None

    def _run(
        self, kind: type[Graph], frames: Tensor, samples: SampleList, *key: Tensor
    ) -> dict[str, Tensor] | None:
        """Return the outputs of a graph; None if the batch has to run eagerly."""
        sizes = tuple(tuple(sample.img_shape[:2]) for sample in samples)
        signature = kind, sizes, *((tensor.shape, tensor.dtype) for tensor in (frames, *key))
        if signature not in self._possible:
            self._possible[signature] = len(frames) <= MAX_BATCH
            return None
        if not self._possible[signature] or torch.is_grad_enabled():
            return None
        scales = (sample.get('scale_factor', (1.0, 1.0))[:2] for sample in samples)
        geometry = tuple((*size, *scale) for size, scale in zip(sizes, scales, strict=True))
        inputs = frames, _geometry(geometry, frames.device), *key
        graph = self._captured.pop(signature, None)
        if graph is None:
            plain = [DetDataSample(metainfo=sample.metainfo) for sample in samples]
            graph = self._capture(kind(self.model, plain), inputs)
        if graph is None:
            self._possible[signature] = False
            return None
        self._captured[signature] = graph
        if len(self._captured) > MAX_GRAPHS:
            self._captured.popitem(last=False)
        return graph(*inputs)

    def _capture(self, graph: Graph, inputs: Sequence[Tensor]) -> CapturedFunction | None:
        """Capture up to boxes, up to raw outputs, or up to the split point: as much as can be."""
        frames, errors, captured = inputs[0], [], None
        stream = torch.cuda.current_stream() if frames.is_cuda else None
        for end in (_BOXES, _RAW, None):
            function = _function(graph, end)
            place = torch.cuda.device(frames.device) if frames.is_cuda else nullcontext()
            try:
                # Memory made in inference mode could not be written outside of it.
                with place, torch.inference_mode(False), torch.no_grad():
                    if frames.is_cuda and self._place[0] is None:
                        self._place = torch.cuda.graph_pool_handle(), torch.cuda.Stream()
                    captured = CapturedFunction(function, inputs, *self._place)
                    break
            except TypeError:  # the detector cannot be cut ahead of its post-processing
                continue
            except Exception as error:
                errors.append(error)
                self._place = (None, None)  # in an unknown state
                if stream is not None:  # a capture that fails leaves its own one behind
                    torch.cuda.set_stream(stream)
        if errors and not self._warned:
            self._warned = True
            part = 'a part' if captured else 'all'
            log_warning(
                f'{part} of the detector runs without CUDA graph, slower, for frames of '
                f'{tuple(frames.shape)}: {type(errors[0]).__name__}: {errors[0]}'
            )
        return captured


@lru_cache(maxsize=64)
def _geometry(sizes: tuple, device: torch.device) -> Tensor:
    """Height, width and factors (w, h) of each frame, (N, 4), copied to the device once."""
    return torch.tensor(sizes, dtype=torch.float64, device=device)


def _function(graph: Graph, end: str | None) -> Callable:
    """Return the function that is captured, of frames, geometry and key-frame maps."""
    model, spatial = graph.model, graph.model.spatial

    def run(frames: Tensor, geometry: Tensor, *key: Tensor) -> dict[str, Tensor]:
        with model.running():
            image, features = graph.compute(*key[:1], frames, *key[1:])
            outputs = numbered('features', features)
            if image is not None:
                outputs[_IMAGE] = image
            if end is not None:
                raw = spatial.raw_outputs(features)
                outputs |= {_RAW + name: maps for name, maps in raw.items()}
            if end == _BOXES:
                boxes = spatial.fixed_shape(raw, geometry, graph.test_cfg)
                outputs |= {} if boxes is None else {_BOXES: boxes}
        return outputs

    return run


def _results(
    model: VideoDetector, outputs: dict[str, Tensor], samples: SampleList, test_cfg: dict
) -> SampleList:
    """Run what follows the graph, with one copy to the host where the graph ends with boxes."""
    spatial = model.spatial
    raw = {name.removeprefix(_RAW): maps for name, maps in outputs.items() if _RAW in name}
    with model.running():
        if _BOXES in outputs:
            return spatial.finish(to_host(outputs[_BOXES]), raw, samples, test_cfg)
        if raw:
            return spatial.predict_raw(raw, samples, test_cfg)
        return spatial.predict(levels('features', outputs), samples, test_cfg)


def to_host(maps: Tensor) -> Tensor:
    """Copy from a GPU and wait for this copy alone."""
    host = torch.empty(maps.shape, dtype=maps.dtype, pin_memory=maps.is_cuda)
    host.copy_(maps, non_blocking=True)
    if maps.is_cuda:
        torch.cuda.current_stream(maps.device).record_event().synchronize()
    return host
