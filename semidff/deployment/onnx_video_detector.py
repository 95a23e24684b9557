"""A video detector whose networks run in onnxruntime; only the detector's post-processing stays in PyTorch."""

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from mmdet.structures import SampleList
from torch import Tensor

from semidff.models import KeyFrame, VideoDetector
from semidff.models.spatial.levels import levels, numbered

from .description import CURRENT, KEY, Description
from .onnx_graph import OnnxGraph


class OnnxVideoDetector(VideoDetector):
    """Takes the place of the exported model in a :class:`~semidff.inference.VideoEngine`.

    Args:
        model: The video detector that was exported, for its post-processing and data preprocessor, both shared. Of
            its weights none are used but those of a RoI head with layers of its own (Faster R-CNN).
        folder: The graphs, see :func:`~semidff.deployment.export_onnx`.
        providers: onnxruntime's execution providers, in the order of preference.
        threads: CPU threads; by default as many as PyTorch uses.

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
            spatial.detector, split=spatial.split, data_preprocessor=model.data_preprocessor
        )
        self.description = about = Description.read(folder)
        folder = Path(folder)
        self.key_graph = OnnxGraph(folder / KEY, about.key_inputs, providers, threads)
        self.non_key_graph = OnnxGraph(folder / CURRENT, about.non_key_inputs, providers, threads)
        self.eval()

    @property
    def has_temporal(self) -> bool:
        """Features can be propagated, though there is no module that does it."""
        return hasattr(self, 'non_key_graph')

    def predict_key(self, inputs: Tensor, samples: SampleList) -> tuple[SampleList, KeyFrame]:
        """See :class:`~semidff.models.VideoDetector`; raises a ValueError for frames of another size."""
        maps = self.key_graph(frame=inputs)
        return self._predict(maps, samples), KeyFrame(maps['key_image'], levels('features', maps))

    def predict_non_key(
        self, inputs: Tensor, samples: SampleList, key: KeyFrame, flow_field: None = None
    ) -> SampleList:
        """See :class:`~semidff.models.VideoDetector`."""
        return self._predict(self.run_non_key(key.image, inputs, key.features), samples)

    def run_non_key(
        self, key_image: Tensor, frames: Tensor, key_features: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """All outputs of the graph for current frames (N, 3, H, W), by name."""
        features = numbered('key_features', key_features)
        return self.non_key_graph(key_image=key_image, frame=frames, **features)

    def flow_field(self, *_: object) -> NoReturn:
        """The graphs do not tell the flow: raises a NotImplementedError."""
        raise NotImplementedError(
            'exported graphs do not return the feature flow: choose a key-frame schedule that does not look at it, '
            'and render without it, or use the PyTorch model'
        )

    def with_temporal(self, temporal: object) -> NoReturn:
        """The temporal module is part of a graph: raises a NotImplementedError."""
        raise NotImplementedError(
            'the temporal module of an exported video detector cannot be replaced; methods sff-fast and sff-slow '
            'need the PyTorch model'
        )

    def _predict(self, maps: dict[str, Tensor], samples: SampleList) -> SampleList:
        raw = {name: maps[own] for name, own in self.description.raw.items()}
        return self.spatial.predict_raw(raw, samples)
