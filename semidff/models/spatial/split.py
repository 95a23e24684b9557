"""Split points between feature network and task network (DFF section 5.2, Table 5)."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

from mmdet.registry import TASK_UTILS
from torch import Tensor, nn

from .head_family import head_family
from .twin import twin


class Split(ABC):
    """Split point of a detector, whose maps are propagated.

    images → :meth:`features` → maps (propagated to other frames) → the detector of :meth:`given` → boxes

    A split has no weights and does not change the detector; the state dict is the same at all split points.
    """

    padding = 'zeros'
    """What the maps hold outside the frame, see :class:`~semidff.models.temporal.TemporalModule`."""

    def check(self, detector: nn.Module) -> None:  # noqa: B027 (optional)
        """Raise a TypeError or ValueError if the detector cannot be cut here."""

    @abstractmethod
    def feature_names(self, detector: nn.Module) -> list[str]:
        """Return the dotted names of the modules of N_feat; all others belong to N_task."""

    def task_modules(self, detector: nn.Module) -> dict[str, nn.Module]:
        """Return the modules of N_task by dotted name."""
        return _outside(detector, {*self.feature_names(detector), 'data_preprocessor'})

    @abstractmethod
    def features(self, detector: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
        """Run N_feat: map images (N, 3, H, W) to one map (N, C_l, H_l, W_l) per level."""

    @abstractmethod
    def given(self, detector: nn.Module, features: Sequence[Tensor]) -> nn.Module:
        """Return a twin of the detector that uses the maps at the split point instead of images."""

    @abstractmethod
    def raw_outputs(self, detector: nn.Module, features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Map the maps at the split point to :meth:`HeadFamily.raw_outputs`."""

    def comparable(self, features: Sequence[Tensor], truth: Sequence[Tensor]) -> list[Tensor]:
        """Return maps whose errors have one unit: the features themselves, which Eq. 4 compares.

        Args:
            features: Maps at the split point, (N, C_l, H_l, W_l) per level.
            truth: The true maps, which set the unit.
        """
        return list(features)


class FeatureSplit(Split):
    """Split point ahead of the heads or further ahead."""

    @abstractmethod
    def finish(self, detector: nn.Module, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Run the part of N_task ahead of the heads: from the maps at the split point to the heads' inputs."""

    def given(self, detector: nn.Module, features: Sequence[Tensor]) -> nn.Module:
        inputs = self.finish(detector, features)
        return twin(detector, extract_feat=lambda *_, **__: inputs)

    def raw_outputs(self, detector: nn.Module, features: Sequence[Tensor]) -> dict[str, Tensor]:
        return head_family(detector).raw_outputs(self.finish(detector, features))


@TASK_UTILS.register_module()
class ExtractFeatSplit(FeatureSplit):
    """The default split point, for any mmdet detector: N_feat is ``extract_feat``, which uses backbone and neck."""

    def feature_names(self, detector: nn.Module) -> list[str]:
        return [name for name, _ in detector.named_children() if name in ('backbone', 'neck')]

    def features(self, detector: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
        maps = detector.extract_feat(images)
        if isinstance(maps, Tensor):
            raise TypeError(
                f'{type(detector).__name__} with {type(detector.backbone).__name__} returns a single map in place of '
                'a tuple of maps, which is not supported'
            )
        return tuple(maps)

    def finish(self, detector: nn.Module, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(features)


def _outside(parent: nn.Module, names: Collection[str], prefix: str = '') -> dict[str, nn.Module]:
    """Return the largest modules, by dotted name, that neither are in ``names`` nor contain one of them."""
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
