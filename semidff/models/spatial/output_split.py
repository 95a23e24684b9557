"""Split point after the last weights of the dense head (DFF Table 5, 0 layers)."""

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from mmdet.registry import TASK_UTILS
from torch import Tensor, nn

from semidff.models.losses import typical_size

from .head_family import head_family
from .probe import probe
from .split import ExtractFeatSplit, Split
from .two_stage_heads import ROI_INPUTS

FEW_PROPOSALS = 100
"""On non-key frames of two-stage detectors: the second stage, all that is left to them, takes as long as there are."""


@TASK_UTILS.register_module()
class OutputSplit(Split):
    """Split point after the dense head: its outputs are propagated, and only post-processing follows.

    Box outputs are offsets from the cell (or from its anchors), so warping moves the boxes with the cells. The outputs
    of a level form one map; R-FCN's score maps have 18 + 36 + 1519 + 196 = 1769 channels for ImageNet VID. For
    two-stage detectors, the maps that the RoI head pools follow, and the RoI head is the task network.
    """

    padding = 'border'

    def __init__(self) -> None:
        self._before = ExtractFeatSplit()
        self._layout: list[list[tuple[str, int]]] = []  # names and channels in each propagated map
        self._same_in_training = True

    def check(self, detector: nn.Module) -> None:
        """Check that the detector can be cut here.

        Raises:
            TypeError: If the outputs of the detector's head are not known, or warping would not move its boxes.
        """
        heads = head_family(detector)

        def compute(images: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
            inputs = self._before.features(detector, images)
            raw = heads.raw_outputs(inputs)
            for name in heads.output_modules:  # not their batch norms; probe() restores the modes
                detector.get_submodule(name).training = True
            return raw, heads.raw_outputs(inputs)

        _, (raw, in_training) = probe(detector, compute)
        if not heads.propagates_outputs:
            raise TypeError(
                f'split=OutputSplit propagates outputs relative to their cells, but {heads.name} '
                'returns positions in the frame; leave split out'
            )
        names = sorted((name for name in raw if not name.startswith(ROI_INPUTS)), key=_level)
        outputs = [list(level) for _, level in groupby(names, key=_level)]
        inputs = [[name] for name in raw if name.startswith(ROI_INPUTS)]
        self._layout = [
            [(name, raw[name].shape[1]) for name in level] for level in outputs + inputs
        ]
        self._same_in_training = raw.keys() == in_training.keys() and all(
            _alike(maps, in_training[name]) for name, maps in raw.items()
        )

    def feature_names(self, detector: nn.Module) -> list[str]:
        return [
            *self._before.feature_names(detector),
            *head_family(detector).output_modules,
        ]

    def features(self, detector: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of each level.

        Raises:
            TypeError: If the head returns other outputs in training.
        """
        heads = head_family(detector)
        training = any(detector.get_submodule(name).training for name in heads.output_modules)
        if training and not self._same_in_training:
            raise TypeError(
                f'{heads.name} returns other outputs in training than in tests, so that '
                'split=OutputSplit cannot be trained with labels; use TowerSplit'
            )
        raw = heads.raw_outputs(self._before.features(detector, images))
        maps = ([raw[name] for name, _ in level] for level in self._layout)
        return tuple(level[0] if len(level) == 1 else torch.cat(level, 1) for level in maps)

    def given(self, detector: nn.Module, features: Sequence[Tensor]) -> nn.Module:
        return head_family(detector).given_raw_outputs(self.raw_outputs(detector, features))

    def raw_outputs(self, detector: nn.Module, features: Sequence[Tensor]) -> dict[str, Tensor]:
        raw = {}
        for maps, level in zip(features, self._layout, strict=True):
            names, channels = zip(*level, strict=True)
            raw.update(zip(names, maps.split(channels, 1), strict=True))
        return raw

    def comparable(self, features: Sequence[Tensor], truth: Sequence[Tensor]) -> list[Tensor]:
        """Return each output of each level in units of its true :func:`~semidff.models.losses.typical_size`.

        Class logits, boxes in pixels and logarithms of sizes have different units, and boxes in pixels other sizes on
        each level.
        """
        outputs = []
        for maps, true, level in zip(features, truth, self._layout, strict=True):
            channels = [count for _, count in level]
            for own, other in zip(maps.split(channels, 1), true.split(channels, 1), strict=True):
                outputs.append(own / typical_size(other, (0, 1, 2, 3)))
        return outputs


def correction_width(two_stage: bool) -> int:
    """Return the width of the temporal module's correction of outputs.

    The correction learns what no weights behind the outputs of a dense head can. It is narrower for two-stage
    detectors: the maps that the RoI head pools have many cells, and weights that learn follow them.
    """
    return 32 if two_stage else 64


def _alike(one: Tensor, other: Any) -> bool:
    if not isinstance(other, Tensor):
        return False
    if one.shape != other.shape or one.is_meta:  # meta tensors have no values
        return one.shape == other.shape
    return torch.allclose(one, other, rtol=1e-3, atol=1e-5, equal_nan=True)


def _level(name: str) -> int:
    """Return the level of a raw output; outputs without a number are those of the only level."""
    number = re.search(r'_(\d+)$', name)
    return int(number[1]) if number else 0
