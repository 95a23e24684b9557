"""Exported graphs in a runtime, with post-processing in PyTorch, and their description."""

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from itertools import chain
from os.path import isfile
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import mmcv
import mmdet
import torch
from mmdet.structures import DetDataSample, SampleList
from torch import Tensor, nn

from semidff.checkpoints.read import weights_digest
from semidff.models.graphs import Graph, KeyGraph, NonKeyGraph
from semidff.models.key_frame import FlowField, KeyFrame
from semidff.models.spatial.head_family import levels, numbered
from semidff.models.video_detector import VideoDetector
from semidff.utils.atomic_write import atomic_write, read_json, write_json
from semidff.utils.logs import log_warning
from semidff.utils.threads import worker_threads
from semidff.version import __version__

from .base import Executor
from .onnx_export import ExportError
from .runtimes import RUNTIMES, Runtime

KEY, NON_KEY, FILE = 'key.onnx', 'non_key.onnx', 'video_detector.json'
MAX_GRAPHS = 16
"""Graphs that are kept: two of each size of frames."""

_PREPARING = Lock()
"""One thread exports at a time: PyTorch's exporters keep their state in the process."""

Shapes = dict[str, list]  # the first number is 1, or 'N' for any


@dataclass(frozen=True)
class Description:
    """Inputs and outputs of the graphs, in the graphs' order, and the frames that they take."""

    shape: list[int]  # height and width of frames behind the test pipeline
    dtype: str  # of frames: ``uint8``, BGR; or ``float32``, behind the data preprocessor
    pipeline: dict  # of frames: ``scale`` (w, h), ``keep_ratio``, ``pad_value``; null without
    strides: list[int]  # of the feature levels
    classes: list[str]  # empty if unknown
    key_inputs: Shapes
    key_outputs: Shapes
    non_key_inputs: Shapes  # key_features_i is features_i of key.onnx
    non_key_outputs: Shapes
    raw: dict[str, str]  # graphs' names of what the post-processing reads, by the detector's names
    weights: str  # digest of the model's weights
    format: int = 4  # of this file

    def fits(self, frame: Tensor) -> bool:
        """Return whether the graphs take a frame (1, 3, H, W)."""
        return list(frame.shape[2:]) == self.shape and str(frame.dtype) == f'torch.{self.dtype}'

    def write(self, folder: str | Path) -> None:
        write_json(asdict(self), Path(folder) / FILE, indent=2)

    @classmethod
    def read(cls, folder: str | Path) -> 'Description | None':
        """Read a folder; None, with a warning, if its graphs are those of an earlier version."""
        content = read_json(Path(folder) / FILE)
        if content['format'] == cls.format:
            return cls(**content)
        log_warning(
            f'{folder}: holds graphs of an earlier version, which are not used; export them again'
        )
        return None


class _Compiled:
    """A graph in a runtime: compiled once for each number of threads, since workers have shares of
    them.

    Args:
        graph: An ONNX file, or what the runtime exports.
        raw: As of :class:`Description`.
        total: Number of threads that all workers have together.
        with_boxes: Whether the graph has boxes. They are not used: those of equal scores may change
            places.
    """

    def __init__(
        self,
        make: Callable[..., Runtime],
        graph: Any,
        raw: dict[str, str],
        total: int,
        with_boxes: bool = False,
    ) -> None:
        self._make, self._graph, self._total, self._with_boxes = make, graph, total, with_boxes
        self.raw, self._runtimes, self._lock = raw, {}, Lock()
        self.runtime()  # fails here if at all

    def runtime(self) -> Runtime:
        """Return the runtime for the threads of the calling thread."""
        threads = torch.get_num_threads()
        with self._lock:
            if threads not in self._runtimes:
                streams = max(self._total // threads, 1)
                self._runtimes[threads] = self._make(self._graph, threads, streams)
        return self._runtimes[threads]

    def run(
        self, inputs: Mapping[str, Tensor], sample: DetDataSample | None = None
    ) -> dict[str, Tensor]:
        """Return the outputs, which the next call may overwrite."""
        device = next(iter(inputs.values())).device
        if self._with_boxes:
            geometry = *sample.img_shape[:2], *sample.get('scale_factor', (1, 1))[:2]
            inputs = dict(inputs, geometry=torch.tensor([geometry], dtype=torch.float32))
        arrays = {name: maps.contiguous().cpu().numpy() for name, maps in inputs.items()}
        outputs = self.runtime()(arrays)
        return {name: torch.from_numpy(array).to(device) for name, array in outputs.items()}


class ExportedGraphs:
    """Executor that runs exported graphs in a runtime.

    Frames run one by one: on CPUs, batches take as long. Graphs are exported for each size of
    frames by :meth:`prepare`. What has no graph runs in PyTorch, and so do non-key frames whose
    flow field is known, and all frames of a forked process, which no runtime survives.

    Args:
        model: The video detector, whose post-processing and data preprocessor are used.
        folder: Folder of its graphs, see :func:`~semidff.deployment.export_onnx`, for frames of
            their size.
        runtime: ``onnxruntime`` or ``openvino``.
        cache: Folder in which graphs of ONNX are kept for the next process; None: they are in
            memory alone, as OpenVINO's always are.
        waits: Whether frames wait for the graphs of their size. If not, another thread makes them
            after the first key frame, and frames run in PyTorch meanwhile, whose results differ by
            rounding.
        **options: Of the runtime: ``precision``, ``providers`` of onnxruntime, ``device`` of
            OpenVINO.

    Example:
        >>> stages = Stages(ExportedGraphs(model, 'exported'), Point('propagate', key_interval=10))
    """

    def __init__(
        self,
        model: VideoDetector,
        folder: str | Path | None = None,
        runtime: str = 'onnxruntime',
        cache: str | Path | None = None,
        waits: bool = True,
        **options: Any,
    ) -> None:
        RUNTIMES[runtime].check(**options)
        self.model, self.runtime = model.eval(), runtime
        self.description = None if folder is None else Description.read(folder)
        if self.description and self.description.weights != weights_digest(model.state_dict()):
            raise ValueError(f'{folder}: holds the graphs of other weights; export them again')
        self._arguments = dict(folder=folder, runtime=runtime, cache=cache, waits=waits)
        self._arguments |= options
        self._make = partial(RUNTIMES[runtime], **options)
        self._threads, self._process = torch.get_num_threads(), os.getpid()
        # Shared by all independent executors. None: a graph that cannot be exported.
        self._graphs: dict[tuple, _Compiled | None] = {}
        self._prepared: set[Hashable] = set()
        self._preparing = False
        self._later: list[Thread] = []  # make graphs, from the next key frame's results on

    @property
    def runs_in(self) -> str:
        """Runtime of the graphs so far; ``torch`` if one of them cannot be exported."""
        return 'torch' if None in self._graphs.values() else self.runtime

    def __reduce__(self) -> tuple:
        return partial(ExportedGraphs, self.model, **self._arguments), ()

    def prepare(self, key: Hashable, predict: Callable[[Executor], Any]) -> None:
        if key in self._prepared or os.getpid() != self._process:
            return
        other = None if self._arguments['waits'] else self.independent()
        if other is None:
            self._make_graphs(key, predict)
            return
        self._prepared.add(key)
        arguments = other, key, predict, torch.get_num_threads()
        self._later.append(Thread(target=_make_graphs_later, args=arguments))

    def _make_graphs(self, key: Hashable, predict: Callable[[Executor], Any]) -> None:
        with _PREPARING:
            if key in self._prepared and self._arguments['waits']:  # by another worker meanwhile
                return
            if len(self._graphs) >= MAX_GRAPHS:
                self._graphs.clear()
                self._prepared.clear()
            self._preparing = True
            try:
                predict(self)
            finally:
                self._preparing = False
            self._prepared.add(key)

    def predict_key(self, inputs: Tensor, samples: SampleList) -> tuple[SampleList, KeyFrame]:
        given = [dict(frame=frame) for frame in inputs.split(1)]
        graphs = [self._graph(KeyGraph, *each) for each in zip(given, samples, strict=True)]
        if not all(graphs):
            results = self.model.predict_key(inputs, samples)
            with suppress(IndexError):  # none is left; workers share them
                while not self._preparing:
                    self._later.pop().start()
            return results
        raw, keys = [], []
        for graph, frame, sample in zip(graphs, given, samples, strict=True):
            maps = graph.run(frame, sample)
            image = maps.get('key_image')
            if image is None and self.model.has_temporal:
                image = self.model.key_image(frame['frame'])
            features = tuple(map(torch.clone, levels('features', maps)))
            keys.append(KeyFrame(None if image is None else image.clone(), features))
            raw.append({name: maps[output].clone() for name, output in graph.raw.items()})
        return self._predict(raw, samples, {}), KeyFrame.batch(keys)

    def predict_non_key(
        self,
        inputs: Tensor,
        samples: SampleList,
        key: KeyFrame,
        flow_field: FlowField | None = None,
    ) -> SampleList:
        if flow_field is not None:
            return self.model.predict_non_key(inputs, samples, key, flow_field)
        raw = []
        for index, (frame, sample) in enumerate(zip(inputs.split(1), samples, strict=True)):
            image, features = key.frame(index)
            given = dict(key_image=image, frame=frame) | numbered('key_features', features)
            graph = self._graph(NonKeyGraph, given)
            if graph is None:
                return self.model.predict_non_key(inputs, samples, key)
            maps = graph.run(given, sample)
            raw.append({name: maps[output].clone() for name, output in graph.raw.items()})
        return self._predict(raw, samples, self.model.non_key_test_cfg)

    def flow_field(self, inputs: Tensor, key: KeyFrame) -> FlowField:
        return self.model.flow_field(inputs, key)

    def with_temporal(self, temporal: nn.Module | None) -> 'ExportedGraphs':
        model = self.model.with_temporal(temporal)
        return ExportedGraphs(model, **dict(self._arguments, folder=None))

    def independent(self) -> 'ExportedGraphs | None':
        model = self.model.independent()
        if model is None:
            return None
        other = ExportedGraphs.__new__(ExportedGraphs)  # not from its arguments
        vars(other).update(vars(self), model=model)
        return other

    def _predict(
        self, raw: Sequence[dict[str, Tensor]], samples: SampleList, test_cfg: dict
    ) -> SampleList:
        """Post-process raw outputs of frames, together, which takes less time."""
        batch = {name: torch.cat([maps[name] for maps in raw]) for name in raw[0]}
        return self.model.spatial.predict_raw(batch, samples, test_cfg)

    def _graph(
        self, kind: type[Graph], inputs: dict[str, Tensor], sample: DetDataSample | None = None
    ) -> _Compiled | None:
        """Return the graph for inputs (1, ...) of these sizes; None if there is none."""
        # OpenCV's flow, which has no parameters, is computed outside of PyTorch.
        if kind is not KeyGraph and not _has_weights(self.model.temporal):
            return None
        if os.getpid() != self._process:
            return None
        sizes = tuple((tuple(maps.shape), maps.dtype) for maps in inputs.values())
        signature = kind, sizes, sample and sample.img_shape[:2]
        if self._preparing and signature not in self._graphs:
            try:
                self._graphs[signature] = self._compile(kind, inputs, sample)
            except Exception as error:  # whatever the code of a detector, or a runtime, raises
                log_warning(f'{kind.__name__} runs in PyTorch, not in {self.runtime}: {error}')
                self._graphs[signature] = None
        return self._graphs.get(signature)

    def _compile(
        self, kind: type[Graph], inputs: dict[str, Tensor], sample: DetDataSample | None
    ) -> _Compiled:
        about, name = self.description, KEY if kind is KeyGraph else NON_KEY
        make = partial(_Compiled, self._make, total=self._threads)
        if about and about.fits(inputs['frame']):
            has_boxes = 'geometry' in about.key_inputs
            return make(Path(self._arguments['folder'], name), about.raw, with_boxes=has_boxes)
        file = self._cached_file(kind, inputs, sample)
        if file and isfile(file):
            try:
                return make(file, read_json(file.with_suffix('.json')))
            except Exception as error:  # whatever a runtime raises
                log_warning(f'{file}: cannot be used, is made again ({error})')
        graph, raw = self._export(kind, inputs, sample)
        if file:
            with suppress(OSError):  # a folder of others, or a full disk
                write_json(raw, file.with_suffix('.json'))
                with atomic_write(file, binary=True) as unfinished:
                    unfinished.write(graph)
                graph = file
        return make(graph, raw)

    def _cached_file(
        self, kind: type[Graph], inputs: dict[str, Tensor], sample: DetDataSample | None
    ) -> Path | None:
        """Return the graph's file in the cache."""
        if self._arguments['cache'] is None or not RUNTIMES[self.runtime].exports_files:
            return None
        sizes = [[*maps.shape, maps.dtype] for maps in inputs.values()]
        given = sizes, sample and sample.img_shape
        digest = digest_of(self.model, torch.__version__, *given)
        return Path(self._arguments['cache'], f'{kind.__name__}-{digest}.onnx')

    @torch.inference_mode(False)
    @torch.no_grad()
    def _export(
        self, kind: type[Graph], inputs: dict[str, Tensor], sample: DetDataSample | None
    ) -> tuple[Any, dict[str, str]]:
        model = self.model
        check_exportable(model)
        if not _has_weights(model.temporal):
            model = model.with_temporal(None)
        samples = sample and [DetDataSample(metainfo=sample.metainfo)]
        graph = kind(model, samples)
        inputs = {name: maps.contiguous().clone() for name, maps in inputs.items()}
        return RUNTIMES[self.runtime].export(graph, inputs), graph.raw


def _make_graphs_later(
    executor: ExportedGraphs, key: Hashable, predict: Callable[[Executor], Any], threads: int
) -> None:
    """Make graphs in this thread, for workers of a number of threads."""
    with worker_threads(1, threads) as pool, suppress(Exception):  # raised at the frame, too
        pool.submit(executor._make_graphs, key, predict).result()


def digest_of(model: VideoDetector, *others: Any) -> str:
    """Return a hash of a model's weights and settings, versions of its code, and other things."""
    versions, config = (__version__, mmdet.__version__, mmcv.__version__), model_settings(model)
    # Mean and std of images, among others, are in no state dict.
    weights = weights_digest(dict(chain(model.named_parameters(), model.named_buffers())))
    return sha256(repr((versions, model, config, weights, others)).encode()).hexdigest()[:16]


def model_settings(model: VideoDetector) -> list[tuple]:
    """Return the config of a model, and the numbers and strings among its attributes."""
    config = getattr(model, 'cfg', {}).get('model')
    settings = [
        (name, key, value)
        for name, part in model.named_modules()
        for key, value in sorted(vars(part).items())
        if isinstance(value, int | float | str) and key != 'training'
    ]
    return [config, *settings]


def check_exportable(model: VideoDetector) -> None:
    """Raise an ExportError for networks that have no graphs."""
    if model.spatial.prediction != 'pred_instances':
        raise ExportError(
            f'this model predicts {model.spatial.prediction}; only detectors are exported'
        )


def _has_weights(temporal: nn.Module | None) -> bool:
    return temporal is not None and any(True for _ in temporal.parameters())
