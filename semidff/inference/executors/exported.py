"""Exported graphs in onnxruntime, with post-processing in PyTorch, and their description."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from mmdet.structures import SampleList
from torch import Tensor

from semidff.models.key_frame import FlowField, KeyFrame
from semidff.models.spatial.head_family import levels, numbered
from semidff.models.video_detector import VideoDetector
from semidff.utils.atomic_write import write_json

KEY, NON_KEY, FILE = 'key.onnx', 'non_key.onnx', 'video_detector.json'

Shapes = dict[str, list[int]]


@dataclass(frozen=True)
class Description:
    """Inputs and outputs of the graphs, in the graphs' order, and the preprocessing of frames.

    The normalization has ``channels`` (``rgb`` or ``bgr``), ``mean`` and ``std`` per channel of frames in 0 to 255, and
    ``pad_value`` (after normalization, on the right and at the bottom).
    """

    shape: list[int]  # height and width of the network's input, padding included
    normalization: dict
    strides: list[int]  # of the feature levels
    classes: list[str]  # empty if unknown
    key_inputs: Shapes
    key_outputs: Shapes
    non_key_inputs: Shapes  # key_features_i is features_i of key.onnx
    non_key_outputs: Shapes
    raw: dict[str, str]  # graphs' names of what the post-processing reads, by the detector's names
    format: int = 2  # of this file

    def write(self, folder: str | Path) -> None:
        write_json(asdict(self), Path(folder) / FILE, indent=2)

    @classmethod
    def read(cls, folder: str | Path) -> 'Description':
        return cls(**json.loads((Path(folder) / FILE).read_text(encoding='utf-8')))


class OnnxGraph:
    """Runs an ONNX file on PyTorch tensors, which are copied through the CPU's memory.

    Args:
        shapes: Shapes of its inputs, by name.
        providers: onnxruntime's execution providers, in order of preference.
        threads: Number of CPU threads; None: that of PyTorch.
    """

    def __init__(
        self, path: Path, shapes: Shapes, providers: Sequence[str], threads: int | None
    ) -> None:
        import onnxruntime  # of the extra ``onnx``

        self.path, self.shapes = path, shapes
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(path, options, providers=list(providers))
        self.outputs = [output.name for output in self.session.get_outputs()]

    def __call__(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Run the graph; return the outputs by name, on the inputs' device.

        Args:
            **inputs: Tensors with the graph's shapes except for the batch size, N or 1 for all; the entries run one
                after the other.
        """
        for name, shape in self.shapes.items():
            given = tuple(inputs[name].shape)
            if given[1:] != tuple(shape[1:]):
                raise ValueError(
                    f'{self.path.name}: {name} must have shape {("N", *shape[1:])}, got {given}. Graphs are exported '
                    'for one size of frames: resize the frames to it, or export again with another --shape'
                )
        device = next(iter(inputs.values())).device
        arrays = {n: tensor.float().contiguous().cpu().numpy() for n, tensor in inputs.items()}
        runs = [
            self.session.run(
                None, {n: a if len(a) == 1 else a[i : i + 1] for n, a in arrays.items()}
            )
            for i in range(max(map(len, arrays.values())))
        ]
        outputs = {
            name: entries[0] if len(entries) == 1 else np.concatenate(entries)
            for name, *entries in zip(self.outputs, *runs, strict=True)
        }
        return {name: torch.from_numpy(array).to(device) for name, array in outputs.items()}


class ExportedGraphs:
    """Executor that runs exported graphs in onnxruntime, for frames of the size that they were exported for.

    Args:
        model: The exported video detector, whose post-processing and data preprocessor are used.
        folder: Folder of the graphs, see :func:`~semidff.deployment.export_onnx`.
        providers: As of :class:`OnnxGraph`, like ``threads``.

    Example:
        >>> engine = VideoEngine(ExportedGraphs(model, 'exported'), 'propagate', key_interval=10)
    """

    def __init__(
        self,
        model: VideoDetector,
        folder: str | Path,
        providers: Sequence[str] = ('CPUExecutionProvider',),
        threads: int | None = None,
    ) -> None:
        self.model = model.eval()
        self.description = about = Description.read(folder)
        folder = Path(folder)
        self.key_graph = OnnxGraph(folder / KEY, about.key_inputs, providers, threads)
        self.non_key_graph = OnnxGraph(folder / NON_KEY, about.non_key_inputs, providers, threads)

    def predict_key(self, inputs: Tensor, samples: SampleList) -> tuple[SampleList, KeyFrame]:
        maps = self.key_graph(frame=self.model.normalized(inputs))
        key = KeyFrame(maps['key_image'], levels('features', maps))
        return self._predict(maps, samples, {}), key

    def predict_non_key(
        self,
        inputs: Tensor,
        samples: SampleList,
        key: KeyFrame,
        flow_field: FlowField | None = None,
    ) -> SampleList:
        maps = self.run_non_key(key.image, self.model.normalized(inputs), key.features)
        return self._predict(maps, samples, self.model.non_key_test_cfg)

    def run_non_key(
        self, key_image: Tensor, frames: Tensor, key_features: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """Return all outputs of the non-key graph for frames (N, 3, H, W)."""
        features = numbered('key_features', key_features)
        return self.non_key_graph(key_image=key_image, frame=frames, **features)

    def flow_field(self, inputs: Tensor, key: KeyFrame) -> NoReturn:
        raise NotImplementedError(
            'exported graphs do not return the feature flow, which this schedule or panel needs: use the PyTorch model'
        )

    def with_temporal(self, temporal: object) -> NoReturn:
        raise NotImplementedError(
            'the temporal module of exported graphs cannot be replaced; the methods sff-fast and sff-slow need the '
            'PyTorch model'
        )

    def independent(self) -> None:
        return None

    def _predict(self, maps: dict[str, Tensor], samples: SampleList, test_cfg: dict) -> SampleList:
        raw = {name: maps[own] for name, own in self.description.raw.items()}
        return self.model.spatial.predict_raw(raw, samples, test_cfg)
