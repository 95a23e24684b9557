"""Exported graphs in a runtime, with post-processing in PyTorch, and the description of graphs in a folder."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from itertools import chain
from os.path import isfile
from pathlib import Path
from typing import Any, NamedTuple

import mmcv
import mmdet
import torch
from mmdet.structures import DetDataSample, SampleList
from torch import Tensor, nn

from semidff.models.graphs import (
    FIELDS,
    FlowGraph,
    Graph,
    KeyGraph,
    NonKeyGraph,
    PropagationGraph,
)
from semidff.models.key_frame import FlowField, KeyFrame
from semidff.models.spatial.head_family import levels, numbered
from semidff.models.temporal.warp import MapSampler
from semidff.models.video_detector import VideoDetector
from semidff.utils.atomic_write import atomic_write, read_json, write_json
from semidff.utils.logs import log_warning
from semidff.version import __version__

from .onnx_export import TURNS, ExportError, export_graph
from .runtimes import RUNTIMES, Runtime

KEY, NON_KEY, FILE = 'key.onnx', 'non_key.onnx', 'video_detector.json'
MAX_GRAPHS = 16
"""Graphs that are kept: four of each size of frames, two without schedules that observe the flow."""

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
    format: int = 3  # of this file

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


class _Compiled(NamedTuple):
    runtime: Runtime
    raw: dict[str, str]  # as of Description
    # Whether there are boxes, which are not used: those of equal scores may change places.
    with_boxes: bool = False

    def run(
        self, inputs: Mapping[str, Tensor], sample: DetDataSample | None = None
    ) -> dict[str, Tensor]:
        """Return the outputs, which the next call may overwrite."""
        device = next(iter(inputs.values())).device
        if self.with_boxes:
            geometry = *sample.img_shape[:2], *sample.get('scale_factor', (1, 1))[:2]
            inputs = dict(inputs, geometry=torch.tensor([geometry], dtype=torch.float32))
        arrays = {name: maps.contiguous().cpu().numpy() for name, maps in inputs.items()}
        found = self.runtime(arrays)
        return {name: torch.from_numpy(array).to(device) for name, array in found.items()}


class ExportedGraphs:
    """Executor that runs exported graphs in a runtime, frame by frame: on CPUs, batches take as long.

    Graphs are exported for each size of frames, when they are needed first. What cannot be exported runs in PyTorch.

    Args:
        model: The video detector, whose post-processing and data preprocessor are used.
        folder: Folder of graphs of it, see :func:`~semidff.deployment.export_onnx`, for frames of their size.
        runtime: ``onnxruntime`` or ``openvino``.
        cache: Folder in which graphs are kept for the next time; None: they are in memory alone.
        **options: Of the runtime: ``precision``, ``providers`` of onnxruntime, ``device`` of OpenVINO.

    Example:
        >>> stages = Stages(ExportedGraphs(model, 'exported'), Point('propagate', key_interval=10))
    """

    def __init__(
        self,
        model: VideoDetector,
        folder: str | Path | None = None,
        runtime: str = 'onnxruntime',
        cache: str | Path | None = None,
        **options: Any,
    ) -> None:
        RUNTIMES[runtime].check(**options)
        self.model, self.runtime = model.eval(), runtime
        self.description = None if folder is None else Description.read(folder)
        self._arguments = dict(folder=folder, runtime=runtime, cache=cache, **options)
        self._make = partial(RUNTIMES[runtime], **options)
        self._threads = torch.get_num_threads()
        self._graphs: dict[tuple, _Compiled | None] = {}  # of all independent executors

    @property
    def runs_in(self) -> str:
        """Runtime of the graphs so far; ``torch`` if one of them cannot be exported."""
        return 'torch' if None in self._graphs.values() else self.runtime

    def __reduce__(self) -> tuple:
        return partial(ExportedGraphs, self.model, **self._arguments), ()

    def predict_key(self, inputs: Tensor, samples: SampleList) -> tuple[SampleList, KeyFrame]:
        given = [dict(frame=frame) for frame in inputs.split(1)]
        graphs = [self._graph(KeyGraph, *one) for one in zip(given, samples, strict=True)]
        with TURNS.running():
            if not all(graphs):
                return self.model.predict_key(inputs, samples)
            raw, keys = [], []
            for graph, one, sample in zip(graphs, given, samples, strict=True):
                maps = graph.run(one, sample)
                image = maps.get('key_image')
                if image is None and self.model.has_temporal:
                    image = self.model.key_image(one['frame'])
                features = tuple(map(torch.clone, levels('features', maps)))
                keys.append(KeyFrame(None if image is None else image.clone(), features))
                raw.append({name: maps[own].clone() for name, own in graph.raw.items()})
            return self._predict(raw, samples, {}), KeyFrame.batch(keys)

    def predict_non_key(
        self,
        inputs: Tensor,
        samples: SampleList,
        key: KeyFrame,
        flow_field: FlowField | None = None,
    ) -> SampleList:
        given, kind = [], NonKeyGraph if flow_field is None else PropagationGraph
        for index, frame in enumerate(inputs.split(1)):
            image, features = key.frame(index)
            one = dict(key_image=image, frame=frame)
            if flow_field is not None:
                fields = zip(FIELDS, flow_field.frame(index).fields, strict=True)
                one = {name: maps for name, maps in fields if maps is not None}
            given.append(one | numbered('key_features', features))
        graphs = [self._graph(kind, one) for one in given]
        with TURNS.running():
            if not all(graphs):
                return self.model.predict_non_key(inputs, samples, key, flow_field)
            raw = []
            for graph, one, sample in zip(graphs, given, samples, strict=True):
                maps = graph.run(one, sample)
                raw.append({name: maps[own].clone() for name, own in graph.raw.items()})
            return self._predict(raw, samples, self.model.non_key_test_cfg)

    def flow_field(self, inputs: Tensor, key: KeyFrame) -> FlowField:
        images = [
            key.image[index if len(key.image) > 1 else 0][None] for index in range(len(inputs))
        ]
        frames = zip(images, inputs.split(1), strict=True)
        given = [dict(key_image=image, frame=frame) for image, frame in frames]
        graphs = [self._graph(FlowGraph, one) for one in given]
        with TURNS.running():
            if not all(graphs):
                return self.model.flow_field(inputs, key)
            found = []
            for graph, one in zip(graphs, given, strict=True):
                maps = {name: field.clone() for name, field in graph.run(one).items()}
                fields = map(maps.get, FIELDS)
                found.append(FlowField(one['key_image'], maps['current'], *fields))
            return FlowField.batch(found)

    def with_temporal(self, temporal: nn.Module | None) -> 'ExportedGraphs':
        model = self.model.with_temporal(temporal)
        return ExportedGraphs(model, **dict(self._arguments, folder=None))

    def independent(self) -> 'ExportedGraphs | None':
        model = self.model.independent()
        if model is None:
            return None
        other = ExportedGraphs(model, **self._arguments)
        other._threads, other._graphs = self._threads, self._graphs
        return other

    def _predict(
        self, raw: Sequence[dict[str, Tensor]], samples: SampleList, test_cfg: dict
    ) -> SampleList:
        """Post-process raw outputs of frames, together, which takes less time."""
        batch = {name: torch.cat([one[name] for one in raw]) for name in raw[0]}
        return self.model.spatial.predict_raw(batch, samples, test_cfg)

    def outputs(
        self, kind: type[Graph], inputs: dict[str, Tensor], sample: DetDataSample
    ) -> dict[str, Tensor]:
        """Return all outputs of a graph."""
        found = self._graph(kind, inputs, sample).run(inputs, sample)
        return {name: maps.clone() for name, maps in found.items()}

    def _graph(
        self, kind: type[Graph], inputs: dict[str, Tensor], sample: DetDataSample | None = None
    ) -> _Compiled | None:
        """Return the graph for inputs (1, ...) of these sizes; None if there can be none."""
        # OpenCV's flow, which has no parameters, is computed outside of PyTorch.
        if kind is not KeyGraph and not _has_weights(self.model.temporal):
            return None
        sizes = tuple((tuple(maps.shape), maps.dtype) for maps in inputs.values())
        # Workers have their shares of the threads.
        signature = kind, sizes, sample and sample.img_shape[:2], torch.get_num_threads()
        if signature not in self._graphs:
            with TURNS.exporting():
                if signature not in self._graphs:
                    self._graphs[signature] = self._compile(kind, inputs, sample)
                    while len(self._graphs) > MAX_GRAPHS:
                        del self._graphs[next(iter(self._graphs))]
        return self._graphs.get(signature)

    def _compile(
        self, kind: type[Graph], inputs: dict[str, Tensor], sample: DetDataSample | None
    ) -> _Compiled | None:
        threads = torch.get_num_threads()
        streams = max(self._threads // threads, 1)
        about, file = self.description, {KeyGraph: KEY, NonKeyGraph: NON_KEY}.get(kind)
        if about and file and about.fits(inputs['frame']):
            runtime = self._make(Path(self._arguments['folder'], file), threads, streams)
            return _Compiled(runtime, about.raw, 'geometry' in about.key_inputs)
        try:
            kept = self._cached_file(kind, inputs, sample)
            if kept and isfile(kept):
                try:
                    runtime = self._make(kept, threads, streams)
                    return _Compiled(runtime, read_json(kept.with_suffix('.json')))
                except Exception as error:  # whatever a runtime raises
                    log_warning(f'{kept}: cannot be used, is made again ({error})')
            graph, raw = self._export(kind, inputs, sample)
            if kept:
                with suppress(OSError):  # a folder of others, or a full disk
                    write_json(raw, kept.with_suffix('.json'))
                    with atomic_write(kept, binary=True) as unfinished:
                        unfinished.write(graph)
            return _Compiled(self._make(graph, threads, streams), raw)
        except Exception as error:  # whatever the code of a detector, or a runtime, raises
            log_warning(f'{kind.__name__} runs in PyTorch, not in {self.runtime}: {error}')
            return None

    def _cached_file(
        self, kind: type[Graph], inputs: dict[str, Tensor], sample: DetDataSample | None
    ) -> Path | None:
        """Return the graph's file in the cache."""
        if self._arguments['cache'] is None:
            return None
        sizes = [[*maps.shape, maps.dtype] for maps in inputs.values()]
        gathers = kind in (NonKeyGraph, PropagationGraph) and RUNTIMES[self.runtime].gathers
        own = sizes, sample and sample.img_shape, gathers
        digest = digest_of(self.model, torch.__version__, *own)
        return Path(self._arguments['cache'], f'{kind.__name__}-{digest}.onnx')

    @torch.inference_mode(False)
    @torch.no_grad()
    def _export(
        self, kind: type[Graph], inputs: dict[str, Tensor], sample: DetDataSample | None
    ) -> tuple[bytes, dict[str, str]]:
        model = self.model
        check_exportable(model)
        if not _has_weights(model.temporal):
            model = model.with_temporal(None)
        samples = sample and [DetDataSample(metainfo=sample.metainfo)]
        graph = kind(model, samples)
        inputs = {name: maps.contiguous().clone() for name, maps in inputs.items()}
        outputs = graph.named(*inputs.values())
        raw = {} if kind is FlowGraph else graph.raw_names(outputs)
        MapSampler.gathers = RUNTIMES[self.runtime].gathers
        try:
            return export_graph(graph, inputs, list(outputs)), raw
        finally:
            MapSampler.gathers = False


def digest_of(model: VideoDetector, *others: Any) -> str:
    """Return a hash of a model's weights and settings, of the code that computes it, and of other things."""
    versions, config = (__version__, mmdet.__version__, mmcv.__version__), model_settings(model)
    digest = sha256(repr((versions, model, config, others)).encode())
    for name, tensor in chain(model.named_parameters(), model.named_buffers()):
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def model_settings(model: VideoDetector) -> list[tuple]:
    """Return the config of a model, and the numbers and texts that its modules have as attributes."""
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
