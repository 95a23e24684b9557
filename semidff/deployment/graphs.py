"""The two graphs of a video detector (DFF Algorithm 1), as modules of tensors in and tensors out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from semidff.models import VideoDetector
from semidff.models.spatial.levels import numbered


class Graph(nn.Module, ABC):
    """A part of a video detector with names for what goes in and comes out.

    Args:
        model: A video detector with temporal module; it is shared, not copied.
    """

    def __init__(self, model: VideoDetector) -> None:
        super().__init__()
        self.model = model

    @abstractmethod
    def named(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Runs; outputs by name, in their order."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs without their names."""
        return tuple(self.named(*inputs).values())

    def _task(self, features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Features, and the raw outputs that are not features themselves."""
        raw = self.model.spatial.raw_outputs(features)
        twice = {id(level) for level in features}
        return numbered('features', features) | {
            name: maps for name, maps in raw.items() if id(maps) not in twice
        }

    def raw_names(self, features: Sequence[Tensor]) -> dict[str, str]:
        """Under which name of the graph's outputs each raw output of the spatial module is found."""
        own = {id(level): name for name, level in numbered('features', features).items()}
        raw = self.model.spatial.raw_outputs(features)
        return {name: own.get(id(maps), name) for name, maps in raw.items()}


class KeyGraph(Graph):
    """The spatial module on a key frame, and what is kept of it.

    ``frame`` (1, 3, H, W) → ``key_image`` (1, 3, H / 2, W / 2), ``features_0``, ..., raw outputs.
    """

    def named(self, frame: Tensor) -> dict[str, Tensor]:
        """See the class."""
        image = self.model.temporal.prepare(frame)
        return dict(key_image=image, **self._task(self.model.spatial.features(frame)))


class NonKeyGraph(Graph):
    """Temporal module and task network on a frame between; the feature network is not part of it.

    ``key_image``, ``frame`` (1, 3, H, W), ``key_features_0``, ... → ``features_0``, ..., raw outputs.
    """

    def named(self, key_image: Tensor, frame: Tensor, *key_features: Tensor) -> dict[str, Tensor]:
        """See the class."""
        current = self.model.temporal.prepare(frame)
        return self._task(self.model.temporal(key_image, current, key_features))
