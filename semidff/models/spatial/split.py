"""Split points: where a detector is cut into feature network and task network (DFF section 5.2, Table 5)."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

from mmdet.registry import TASK_UTILS
from torch import Tensor, nn


class Split(ABC):
    """A cut through a detector; what crosses it is propagated.

    images → :meth:`features` → maps (propagated between frames) → :meth:`finish` → heads

    A split holds no weights and changes nothing of the detector, whose state dict is the same wherever it is cut.
    """

    def check(self, detector: nn.Module) -> None:  # noqa: B027 (most cuts fit every detector)
        """Raises a TypeError or ValueError if the detector cannot be cut here."""

    @abstractmethod
    def feature_names(self, detector: nn.Module) -> list[str]:
        """Dotted names of the modules of N_feat; all others are N_task."""

    def task_modules(self, detector: nn.Module) -> dict[str, nn.Module]:
        """Modules of N_task by dotted name."""
        return _outside(detector, {*self.feature_names(detector), 'data_preprocessor'})

    @abstractmethod
    def features(self, detector: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
        """N_feat: images (N, 3, H, W) to one map (N, C_l, H_l, W_l) per level."""

    @abstractmethod
    def finish(self, detector: nn.Module, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The part of N_task that lies ahead of the heads: from the maps at the cut to what the heads read."""


@TASK_UTILS.register_module()
class ExtractFeatSplit(Split):
    """The default, for any mmdet detector: all of them compute ``extract_feat(images)`` and go on with that alone.

    Args:
        feature_modules: Names of the detector's children that ``extract_feat`` uses.
    """

    def __init__(self, feature_modules: Sequence[str] = ('backbone', 'neck')) -> None:
        self.feature_modules = tuple(feature_modules)

    def feature_names(self, detector: nn.Module) -> list[str]:
        """The children that ``extract_feat`` uses."""
        return [name for name, _ in detector.named_children() if name in self.feature_modules]

    def features(self, detector: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
        """What ``extract_feat`` returns."""
        return tuple(detector.extract_feat(images))

    def finish(self, detector: nn.Module, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The features as they are."""
        return tuple(features)


def _outside(parent: nn.Module, names: Collection[str], prefix: str = '') -> dict[str, nn.Module]:
    """The largest modules, by dotted name, that are neither named nor hold a named one."""
    found = {}
    for name, child in parent.named_children():
        name = f'{prefix}{name}'
        if name in names:
            continue
        if any(other.startswith(f'{name}.') for other in names):
            found.update(_outside(child, names, f'{name}.'))
        else:
            found[name] = child
    return found
