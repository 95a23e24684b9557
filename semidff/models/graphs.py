"""The graphs of a video detector (DFF Algorithm 1), modules from tensors to tensors."""

from abc import ABC, abstractmethod

from mmdet.structures import SampleList
from torch import Tensor, nn

from .key_frame import KeyFrame
from .spatial.head_family import numbered
from .video_detector import VideoDetector


class Graph(nn.Module, ABC):
    """Part of a video detector with named inputs and outputs: what is exported, captured as a CUDA
    graph and timed.

    Frames are those of ``model.preprocess``, or normalized ones.

    Args:
        model: A video detector; it is shared, not copied.
        samples: Data samples of the frames, if they may be padded.
        with_boxes: Whether the post-processing is part of the graph, with ``geometry`` as the last
            input and ``boxes`` as the last output
            (:meth:`~semidff.models.spatial.SpatialModule.fixed_shape`), where it is known.

    Attributes:
        outputs: Names of the outputs, in their order, once it has run.
        raw: Names of the outputs that are raw outputs of the detector, by the detector's names.
    """

    def __init__(
        self, model: VideoDetector, samples: SampleList | None = None, with_boxes: bool = False
    ) -> None:
        super().__init__()
        self.model, self.samples, self.with_boxes = model, samples, with_boxes
        self.outputs: list[str] = []
        self.raw: dict[str, str] = {}

    @property
    def test_cfg(self) -> dict:
        """Settings that replace some of the detector's."""
        return self.model.non_key_test_cfg

    @abstractmethod
    def compute(self, *inputs: Tensor) -> KeyFrame:
        """Run the graph up to the split point; the image is None on non-key frames."""

    def named(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Return the outputs by name, in their order, without raw outputs that are features."""
        geometry = None
        if self.with_boxes:
            *inputs, geometry = inputs
        image, features = self.compute(*inputs)
        maps = {} if image is None else dict(key_image=image)
        raw = self.model.spatial.raw_outputs(features)
        known = {id(level): name for name, level in numbered('features', features).items()}
        self.raw = {name: known.get(id(output), name) for name, output in raw.items()}
        maps |= numbered('features', features)
        maps |= {name: output for name, output in raw.items() if id(output) not in known}
        if geometry is not None:
            boxes = self.model.spatial.fixed_shape(raw, geometry, self.test_cfg)
            maps |= {} if boxes is None else dict(boxes=boxes)
        self.outputs = list(maps)
        return maps

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of :meth:`named` without their names."""
        return tuple(self.named(*inputs).values())


class KeyGraph(Graph):
    """The spatial module on key frames.

    ``frame`` (N, 3, H, W) → ``key_image`` (N, 3, H / 2, W / 2), ``features_0``, ..., raw outputs.
    """

    test_cfg = {}  # noqa: RUF012 (not changed)

    def compute(self, frame: Tensor) -> KeyFrame:
        return self.model.key_frame(frame, self.samples)


class NonKeyGraph(Graph):
    """Temporal module and task network on non-key frames, without the feature network.

    ``key_image``, ``frame`` (N, 3, H, W), ``key_features_0``, ... → ``features_0``, ..., raw
    outputs.
    """

    def compute(self, key_image: Tensor, frame: Tensor, *key_features: Tensor) -> KeyFrame:
        current = self.model.temporal.prepare(self.model.normalized(frame))
        return KeyFrame(None, self.model.temporal(key_image, current, key_features))
