"""Split point between the towers of a dense head and its last convolutions."""

from collections.abc import Sequence

import torch
from mmdet.registry import TASK_UTILS
from torch import Tensor, nn

from .head_family import head_family
from .probe import probe
from .split import ExtractFeatSplit, Split
from .twin import twin


@TASK_UTILS.register_module()
class TowerSplit(Split):
    """Split point after the towers of a single-stage detector's head.

    The outputs of the towers of a level, as a rule one for classes and one for boxes, are propagated as one map.
    N_task are the convolutions that follow, which can be fine-tuned.
    """

    def __init__(self) -> None:
        self._before = ExtractFeatSplit()

    def check(self, detector: nn.Module) -> None:
        """Check that the detector can be cut here.

        Raises:
            TypeError: If the detector's head has no towers of a known kind, or uses them otherwise.
        """
        heads = head_family(detector)
        if not heads.towers:
            raise TypeError(
                f'split=TowerSplit cuts dense heads after their towers, but {heads.name} has none of '
                'a known kind; use OutputSplit or leave split out'
            )

        def compute(images: Tensor) -> bool:
            whole = heads.raw_outputs(self._before.features(detector, images))
            try:
                parts = self.raw_outputs(detector, self.features(detector, images))
            except RuntimeError:  # the widths do not fit
                return False
            return images.is_meta or all(torch.equal(maps, parts[k]) for k, maps in whole.items())

        if not probe(detector, compute)[1]:
            raise TypeError(
                f'split=TowerSplit: {heads.name} reads more than the outputs of its towers {heads.towers}; use '
                'OutputSplit or leave split out'
            )
        behind = (
            m for name, m in self.task_modules(detector).items() if name.startswith('bbox_head.')
        )
        if not any(list(module.parameters()) for module in behind):
            raise TypeError(
                f'split=TowerSplit: {heads.name} has no layers after {heads.towers}; use OutputSplit or leave split out'
            )

    def feature_names(self, detector: nn.Module) -> list[str]:
        towers = [f'bbox_head.{name}' for name in head_family(detector).towers]
        return [*self._before.feature_names(detector), *towers]

    def features(self, detector: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
        heads = head_family(detector)
        towers = [heads.dense_head.get_submodule(name) for name in heads.towers]
        inputs = self._before.features(detector, images)
        return tuple(
            torch.cat([_run(_at_level(tower, index, len(inputs)), level) for tower in towers], 1)
            for index, level in enumerate(inputs)
        )

    def given(self, detector: nn.Module, features: Sequence[Tensor]) -> nn.Module:
        return twin(self._without_towers(detector), extract_feat=lambda *_, **__: tuple(features))

    def raw_outputs(self, detector: nn.Module, features: Sequence[Tensor]) -> dict[str, Tensor]:
        return head_family(self._without_towers(detector)).raw_outputs(features)

    @staticmethod
    def _without_towers(detector: nn.Module) -> nn.Module:
        """Return a twin of the detector whose towers pick their channels of the propagated maps."""
        heads = head_family(detector)
        parts = len(heads.towers)
        picks = {
            name: _with_leaf(heads.dense_head.get_submodule(name), _Chunk(index, parts))
            for index, name in enumerate(heads.towers)
        }
        return twin(detector, bbox_head=twin(heads.dense_head, **picks))


class _Chunk(nn.Module):
    """Picks one of several equal parts of the channels."""

    def __init__(self, index: int, parts: int) -> None:
        super().__init__()
        self.index, self.parts = index, parts

    def forward(self, maps: Tensor) -> Tensor:
        part = maps.chunk(self.parts, 1)[self.index]
        # mmcv's operators need dense maps; a part of several images is none.
        return part if part.is_contiguous() else part.clone()


def _at_level(tower: nn.Module, index: int, levels: int) -> nn.Module:
    """Return the layers for a level; most heads have the same for all levels."""
    nested = isinstance(tower, nn.ModuleList) and len(tower) == levels
    return tower[index] if nested and isinstance(tower[0], nn.Sequential | nn.ModuleList) else tower


def _run(layers: nn.Module, maps: Tensor) -> Tensor:
    for layer in layers:
        maps = layer(maps)
    return maps


def _with_leaf(tower: nn.Module, leaf: nn.Module) -> nn.Module:
    """Return containers as nested as those of a tower, with one layer."""
    if isinstance(tower, nn.ModuleList) and isinstance(tower[0], nn.Sequential | nn.ModuleList):
        return nn.ModuleList(_with_leaf(level, leaf) for level in tower)
    return nn.Sequential(leaf) if isinstance(tower, nn.Sequential) else nn.ModuleList([leaf])
