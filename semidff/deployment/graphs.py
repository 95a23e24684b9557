"""The two graphs of a video detector (DFF Algorithm 1), modules from tensors to tensors."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from semidff.models import VideoDetector
from semidff.models.spatial.head_family import numbered


class Graph(nn.Module, ABC):
    """Part of a video detector with named inputs and outputs.

    Args:
        model: A video detector with temporal module; it is shared, not copied.
    """

    def __init__(self, model: VideoDetector) -> None:
        super().__init__()
        self.model = model

    @abstractmethod
    def named(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Run the graph; return the outputs by name, in their order."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of :meth:`named` without their names."""
        return tuple(self.named(*inputs).values())

    def _task(self, features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the features, and the raw outputs except those that are features themselves."""
        raw = self.model.spatial.raw_outputs(features)
        known = {id(level) for level in features}
        return numbered('features', features) | {
            name: maps for name, maps in raw.items() if id(maps) not in known
        }

    def raw_names(self, features: Sequence[Tensor]) -> dict[str, str]:
        """Return the graph's name of each raw output of the spatial module."""
        own = {id(level): name for name, level in numbered('features', features).items()}
        raw = self.model.spatial.raw_outputs(features)
        return {name: own.get(id(maps), name) for name, maps in raw.items()}


class KeyGraph(Graph):
    """The spatial module on a key frame.

    ``frame`` (1, 3, H, W) → ``key_image`` (1, 3, H / 2, W / 2), ``features_0``, ..., raw outputs.
    """

    def named(self, frame: Tensor) -> dict[str, Tensor]:
        image = self.model.temporal.prepare(frame)
        return dict(key_image=image, **self._task(self.model.spatial.features(frame)))


class NonKeyGraph(Graph):
    """Temporal module and task network on a non-key frame, without the feature network.

    ``key_image``, ``frame`` (1, 3, H, W), ``key_features_0``, ... → ``features_0``, ..., raw outputs.
    """

    def named(self, key_image: Tensor, frame: Tensor, *key_features: Tensor) -> dict[str, Tensor]:
        current = self.model.temporal.prepare(frame)
        return self._task(self.model.temporal(key_image, current, key_features))
