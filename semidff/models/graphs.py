"""The two graphs of a video detector (DFF Algorithm 1), modules from tensors to tensors."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from mmdet.structures import SampleList
from torch import Tensor, nn

from .key_frame import KeyFrame
from .spatial.head_family import numbered
from .video_detector import VideoDetector


class Graph(nn.Module, ABC):
    """Part of a video detector with named inputs and outputs: what is exported, captured as a CUDA graph and timed.

    Args:
        model: A video detector with temporal module; it is shared, not copied.
        samples: Data samples of the frames, if they may be padded.
    """

    def __init__(self, model: VideoDetector, samples: SampleList | None = None) -> None:
        super().__init__()
        self.model, self.samples = model, samples

    @abstractmethod
    def compute(self, *inputs: Tensor) -> KeyFrame:
        """Run the graph up to the split point; the image is None on non-key frames."""

    def named(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Run the graph; return the outputs by name, in their order, without raw outputs that are features."""
        image, features = self.compute(*inputs)
        maps = {} if image is None else dict(key_image=image)
        raw = self.model.spatial.raw_outputs(features)
        known = {id(level) for level in features}
        return (
            maps
            | numbered('features', features)
            | {name: maps for name, maps in raw.items() if id(maps) not in known}
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of :meth:`named` without their names."""
        return tuple(self.named(*inputs).values())

    def raw_names(self, features: Sequence[Tensor]) -> dict[str, str]:
        """Return the graph's name of each raw output of the spatial module."""
        own = {id(level): name for name, level in numbered('features', features).items()}
        raw = self.model.spatial.raw_outputs(features)
        return {name: own.get(id(maps), name) for name, maps in raw.items()}


class KeyGraph(Graph):
    """The spatial module on a key frame.

    ``frame`` (1, 3, H, W) → ``key_image`` (1, 3, H / 2, W / 2), ``features_0``, ..., raw outputs.
    """

    def compute(self, frame: Tensor) -> KeyFrame:
        return self.model.key_frame(frame, self.samples)


class NonKeyGraph(Graph):
    """Temporal module and task network on a non-key frame, without the feature network.

    ``key_image``, ``frame`` (1, 3, H, W), ``key_features_0``, ... → ``features_0``, ..., raw outputs.
    """

    def compute(self, key_image: Tensor, frame: Tensor, *key_features: Tensor) -> KeyFrame:
        current = self.model.temporal.prepare(frame)
        return KeyFrame(None, self.model.temporal(key_image, current, key_features))
