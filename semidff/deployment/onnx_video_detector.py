"""Video detector whose networks run in onnxruntime and whose post-processing runs in PyTorch."""

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from mmdet.structures import SampleList
from torch import Tensor

from semidff.models import KeyFrame, VideoDetector
from semidff.models.spatial.head_family import levels, numbered

from .description import KEY, NON_KEY, Description
from .onnx_graph import OnnxGraph


class OnnxVideoDetector(VideoDetector):
    """Replaces the exported model in a :class:`~semidff.inference.VideoEngine`.

    Args:
        model: The exported video detector; its post-processing and data preprocessor are shared. Of its weights, only
            those of a RoI head with layers of its own (Faster R-CNN) are used.
        folder: Folder of the graphs, see :func:`~semidff.deployment.export_onnx`.
        providers: onnxruntime's execution providers, in order of preference.
        threads: Number of CPU threads; by default that of PyTorch.

    Raises:
        FileNotFoundError: If a file is missing.
        MissingPackageError: If onnxruntime is not installed.
        ValueError: If a file is damaged, or the files do not belong together.

    Example:
        >>> engine = VideoEngine(OnnxVideoDetector(model, 'exported'), 'propagate', key_interval=10)
    """

    def __init__(
        self,
        model: VideoDetector,
        folder: str | Path,
        providers: Sequence[str] = ('CPUExecutionProvider',),
        threads: int | None = None,
    ) -> None:
        spatial = model.spatial
        super().__init__(
            spatial.detector,
            split=spatial.split,
            non_key_test_cfg=model.non_key_test_cfg,
            data_preprocessor=model.data_preprocessor,
        )
        self.description = about = Description.read(folder)
        folder = Path(folder)
        self.key_graph = OnnxGraph(folder / KEY, about.key_inputs, providers, threads)
        self.non_key_graph = OnnxGraph(folder / NON_KEY, about.non_key_inputs, providers, threads)
        self.eval()

    @property
    def has_temporal(self) -> bool:
        """Whether features can be propagated: by a graph, not by a temporal module."""
        return hasattr(self, 'non_key_graph')

    def predict_key(self, inputs: Tensor, samples: SampleList) -> tuple[SampleList, KeyFrame]:
        maps = self.key_graph(frame=inputs)
        return self._predict(maps, samples), KeyFrame(maps['key_image'], levels('features', maps))

    def predict_non_key(
        self, inputs: Tensor, samples: SampleList, key: KeyFrame, flow_field: None = None
    ) -> SampleList:
        maps = self.run_non_key(key.image, inputs, key.features)
        return self._predict(maps, samples, self.non_key_test_cfg)

    def run_non_key(
        self, key_image: Tensor, frames: Tensor, key_features: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """Return all outputs of the non-key graph for frames (N, 3, H, W), by name."""
        features = numbered('key_features', key_features)
        return self.non_key_graph(key_image=key_image, frame=frames, **features)

    def flow_field(self, *_: object) -> NoReturn:
        """Raise NotImplementedError: the graphs do not return the flow."""
        raise NotImplementedError(
            'exported graphs do not return the feature flow: choose a key-frame schedule that does not need it and '
            'render without it, or use the PyTorch model'
        )

    def with_temporal(self, temporal: object) -> NoReturn:
        """Raise NotImplementedError: the temporal module is part of a graph."""
        raise NotImplementedError(
            'the temporal module of an exported video detector cannot be replaced; the methods sff-fast and sff-slow '
            'need the PyTorch model'
        )

    def _predict(
        self, maps: dict[str, Tensor], samples: SampleList, test_cfg: dict | None = None
    ) -> SampleList:
        raw = {name: maps[own] for name, own in self.description.raw.items()}
        return self.spatial.predict_raw(raw, samples, test_cfg)
