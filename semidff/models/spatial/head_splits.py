"""Split points inside dense heads, after towers or last weights, and behind encoders."""

import re
from collections.abc import Mapping, Sequence
from itertools import cycle, groupby
from typing import Any

import torch
from mmdet.registry import TASK_UTILS
from mmdet.structures import SampleList
from torch import Tensor, nn

from semidff.models.losses import typical_size

from .dense_heads import ROI_INPUTS
from .detr_heads import MEMORY
from .head_family import HeadFamily, Inputs, numbered, twin
from .split import ExtractFeatSplit, plain_samples

_FEW_PROPOSALS = 100
_OVERLAP = 0.55  # intersection over union


@TASK_UTILS.register_module()
class TowerSplit(ExtractFeatSplit):
    """Split point after the towers of a dense head; N_task are the convolutions that follow.

    The outputs of the towers of a level, as a rule one for classes and one for boxes, are
    propagated as one map.
    """

    needs_probe = True

    def check(self) -> None:
        modules = self.task_modules().items() if self.heads.towers else ()
        behind = (module for name, module in modules if name.startswith(f'{self.heads.head_name}.'))
        if not any(list(module.parameters()) for module in behind):
            raise TypeError(
                'split=TowerSplit cuts dense heads behind towers of a known kind, but '
                f'{self.heads.name} has none; use OutputSplit or leave split out'
            )

    def probe(self, images: Tensor) -> tuple[Tensor, ...]:
        """Check that the layers after the towers read nothing else."""
        inputs = super().features(images)
        whole, maps = self.heads.raw_outputs(inputs), self._run_towers(inputs)
        try:
            heads, inputs = self.task_inputs(maps)
            parts = heads.raw_outputs(inputs)
            same = images.is_meta or all(torch.equal(m, parts[name]) for name, m in whole.items())
        except RuntimeError:  # the widths do not fit
            same = False
        if not same:
            raise TypeError(
                f'split=TowerSplit: {self.heads.name} reads more than the outputs of its towers; '
                'use OutputSplit or leave split out'
            )
        return maps

    def feature_names(self) -> list[str]:
        towers = [f'{self.heads.head_name}.{name}' for name in self.heads.towers]
        return [*super().feature_names(), *towers]

    def features(self, images: Tensor, samples: SampleList | None = None) -> tuple[Tensor, ...]:
        return self._run_towers(super().features(images))

    def task_inputs(self, features: Sequence[Tensor]) -> tuple[HeadFamily, Inputs]:
        # The towers pick their channels of the propagated maps.
        heads, head, count = self.heads, self.heads.dense_head, len(self.heads.towers)
        picks = {
            name: _with_leaf(head.get_submodule(name), _Chunk(index, count))
            for index, name in enumerate(heads.towers)
        }
        detector = twin(heads.detector, **{heads.head_name: twin(head, **picks)})
        return type(heads)(detector), tuple(features)

    def _run_towers(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        outputs = []
        for index, level in enumerate(inputs):
            ends = []
            for name in self.heads.towers:
                tower, maps = self.heads.dense_head.get_submodule(name), level
                # Most heads have the same layers for all levels.
                for layer in tower[index] if _is_nested(tower) else tower:
                    maps = layer(maps)
                ends.append(maps)
            outputs.append(torch.cat(ends, 1))
        return tuple(outputs)


class _Chunk(nn.Module):
    """Picks one of several equal parts of the channels."""

    def __init__(self, index: int, parts: int) -> None:
        super().__init__()
        self.index, self.parts = index, parts

    def forward(self, maps: Tensor) -> Tensor:
        part = maps.chunk(self.parts, 1)[self.index]
        # mmcv's operators need dense maps; a part of several images is none.
        return part if part.is_contiguous() else part.clone()


def _is_nested(tower: nn.Module) -> bool:
    return isinstance(tower, nn.ModuleList) and isinstance(tower[0], nn.Sequential | nn.ModuleList)


def _with_leaf(tower: nn.Module, leaf: nn.Module) -> nn.Module:
    """Return containers as nested as those of a tower, with one layer."""
    if _is_nested(tower):
        return nn.ModuleList(_with_leaf(level, leaf) for level in tower)
    return nn.Sequential(leaf) if isinstance(tower, nn.Sequential) else nn.ModuleList([leaf])


@TASK_UTILS.register_module()
class OutputSplit(ExtractFeatSplit):
    """Split point after the dense head: its outputs are propagated, and post-processing follows.

    Box outputs are offsets from the cell (or from its anchors), so warping moves the boxes with the
    cells. The outputs of a level form one map; R-FCN's score maps have 18 + 36 + 1519 + 196 = 1769
    channels for ImageNet VID. For two-stage detectors, the maps that the RoI head pools follow, and
    the RoI head is the task network.
    """

    padding = 'border'
    corrected_from = 0
    needs_probe = True

    def __init__(self) -> None:
        self._layout: list[list[tuple[str, int]]] = []  # names and channels in each propagated map
        self._same_in_training = True

    def check(self) -> None:
        if not self.heads.propagates_outputs:
            raise TypeError(
                'split=OutputSplit propagates outputs relative to their cells, but '
                f'{self.heads.name} returns positions in the frame; leave split out'
            )

    def probe(self, images: Tensor) -> tuple[Tensor, ...]:
        """Find the outputs of each level, and whether they are the same in training."""
        inputs = super().features(images)
        raw = self.heads.raw_outputs(inputs)
        outputs = sorted((name for name in raw if not name.startswith(ROI_INPUTS)), key=_level)
        maps = [list(level) for _, level in groupby(outputs, key=_level)]
        maps += [[name] for name in raw if name.startswith(ROI_INPUTS)]
        self._layout = [[(name, raw[name].shape[1]) for name in level] for level in maps]
        for name in self.heads.output_modules:  # not their batch norms; probe() restores the modes
            self.heads.detector.get_submodule(name).training = True
        in_training = self.heads.raw_outputs(inputs)
        self._same_in_training = raw.keys() == in_training.keys() and all(
            _alike(maps, in_training[name]) for name, maps in raw.items()
        )
        return self._joined(raw)

    def feature_names(self) -> list[str]:
        return [*super().feature_names(), *self.heads.output_modules]

    def features(self, images: Tensor, samples: SampleList | None = None) -> tuple[Tensor, ...]:
        names, detector = self.heads.output_modules, self.heads.detector
        modules = (detector.get_submodule(name) for name in names)
        if not self._same_in_training and any(module.training for module in modules):
            raise TypeError(
                f'{self.heads.name} returns other outputs in training than in tests, so that '
                'split=OutputSplit cannot be trained with labels; use TowerSplit'
            )
        return self._joined(self.heads.raw_outputs(super().features(images)))

    def task_inputs(self, features: Sequence[Tensor]) -> tuple[HeadFamily, Inputs]:
        raw = {}
        for maps, level in zip(features, self._layout, strict=True):
            names, channels = zip(*level, strict=True)
            raw.update(zip(names, maps.split(channels, 1), strict=True))
        return self.heads, raw

    def class_maps(self) -> list[tuple[int, int, int] | None]:
        found = []
        for level in self._layout:
            start, place = 0, None
            for name, count in level:
                if (classes := self.heads.classes_of(name)) > 1:
                    place = start, count // classes, classes
                start += count
            found.append(place)
        return found

    def comparable(self, features: Sequence[Tensor], truth: Sequence[Tensor]) -> list[Tensor]:
        """Return each output in units of its true :func:`~semidff.models.losses.typical_size`."""
        outputs = []
        for maps, true, level in zip(features, truth, self._layout, strict=True):
            channels = [count for _, count in level]
            for own, other in zip(maps.split(channels, 1), true.split(channels, 1), strict=True):
                outputs.append(own / typical_size(other, (0, 1, 2, 3)))
        return outputs

    def _joined(self, raw: dict[str, Tensor]) -> tuple[Tensor, ...]:
        maps = ([raw[name] for name, _ in level] for level in self._layout)
        return tuple(level[0] if len(level) == 1 else torch.cat(level, 1) for level in maps)


@TASK_UTILS.register_module()
class EncoderSplit(ExtractFeatSplit):
    """Split point behind the encoder of a transformer; N_task is the decoder.

    Positions are added to the queries of the attention alone, so that a map of memory can be
    warped.
    """

    padding = 'border'  # a vector of zeros is no output of a layer normalization
    corrected_from = 0
    bare_weights = 'feature_network'  # the level embedding

    def check(self) -> None:
        if not self.heads.encoder_modules:
            raise TypeError(
                'split=EncoderSplit cuts detectors behind the encoder of a transformer, but '
                f'{self.heads.name} has none of a known kind; use another split point'
            )

    def feature_names(self) -> list[str]:
        return [*super().feature_names(), *self.heads.encoder_modules]

    def features(self, images: Tensor, samples: SampleList | None = None) -> tuple[Tensor, ...]:
        whole = plain_samples(len(images), tuple(images.shape[-2:]))
        for own, sample in zip(whole, cycle(samples or [])):
            own.set_metainfo(dict(img_shape=sample.img_shape))
        return self.heads.memory(super().features(images), whole)

    def task_inputs(self, features: Sequence[Tensor]) -> tuple[HeadFamily, Inputs]:
        return self.heads, numbered(MEMORY, features)


def non_key_settings(split: str, test_cfg: Mapping | None) -> dict | None:
    """Return test settings of non-key frames with ``OutputSplit``.

    Few proposals, where the second stage is all that is left to them. Boxes of an object that are
    warped differ more than the detector's own, and would pass its non-maximum suppression.
    """
    if split != 'OutputSplit' or not test_cfg:
        return None
    proposals = (test_cfg.get('rpn') or {}).get('max_per_img', 0)
    overlap = (test_cfg.get('nms') or {}).get('iou_threshold', 0)
    settings = dict(rpn=dict(max_per_img=_FEW_PROPOSALS)) if proposals > _FEW_PROPOSALS else {}
    if overlap > _OVERLAP:
        settings['nms'] = dict(iou_threshold=_OVERLAP)
    return settings or None


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
