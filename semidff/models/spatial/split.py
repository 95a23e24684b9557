"""Split points between feature and task network ahead of the heads (DFF 5.2, Table 5)."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence

from mmdet.models.backbones import ResNet
from mmdet.registry import TASK_UTILS
from mmdet.structures import DetDataSample, SampleList
from torch import Tensor, nn

from .head_family import HeadFamily, Inputs


class Split(ABC):
    """Split point of a detector, whose maps are propagated.

    images → :meth:`features` → maps (propagated) → the heads of :meth:`task_inputs` → boxes

    A split has no weights and does not change the detector. It is that of a detector once it is
    bound to the family of the detector's heads.
    """

    heads: HeadFamily
    padding = 'zeros'  # what the maps hold outside the frame, as the temporal module needs to know
    corrected_from = 16  # finest stride at which a correction takes a small share of the time
    needs_probe = False  # whether the detector must have run once before it is used
    bare_weights = 'task_network'  # part of weights of no module (Deformable DETR: level embedding)

    def bound_to(self, heads: HeadFamily) -> 'Split':
        """Return this split point of the detector that a family of heads has."""
        bound = copy.copy(self)
        bound.heads = heads
        return bound

    def check(self) -> None:  # noqa: B027 (optional)
        """Raise a TypeError or ValueError if the detector cannot be cut here."""

    def probe(self, images: Tensor) -> tuple[Tensor, ...]:
        """Run N_feat on random images, and find out what only the maps show."""
        return self.features(images)

    @abstractmethod
    def feature_names(self) -> list[str]:
        """Return the dotted names of the modules of N_feat; all others belong to N_task."""

    def task_modules(self) -> dict[str, nn.Module]:
        """Return the modules of N_task by dotted name."""
        return _outside(self.heads.detector, {*self.feature_names(), 'data_preprocessor'})

    @abstractmethod
    def features(self, images: Tensor, samples: SampleList | None = None) -> tuple[Tensor, ...]:
        """Run N_feat: map images (N, 3, H, W) to one map (N, C_l, H_l, W_l) per level.

        Sample i modulo their number has the size of image i without padding (``img_shape``); None:
        no image is padded. Transformers mask what is padded.
        """

    def task_inputs(self, features: Sequence[Tensor]) -> tuple[HeadFamily, Inputs]:
        """Return the heads behind the split point, with their inputs or, as a dict, raw outputs."""
        return self.heads, tuple(features)

    def class_maps(self) -> list[tuple[int, int, int] | None] | None:
        """Return each map's first channel of class scores, its anchors, and its classes.

        None stands for maps without, or whose classes exclude each other.
        """
        return None

    def comparable(self, features: Sequence[Tensor], truth: Sequence[Tensor]) -> list[Tensor]:
        """Return maps whose errors have one unit; here the features, which Eq. 4 compares."""
        return list(features)


@TASK_UTILS.register_module()
class ExtractFeatSplit(Split):
    """The default split point, for any mmdet detector: N_feat is ``extract_feat``."""

    def feature_names(self) -> list[str]:
        children = self.heads.detector.named_children()
        return [name for name, _ in children if name in ('backbone', 'neck')]

    def features(self, images: Tensor, samples: SampleList | None = None) -> tuple[Tensor, ...]:
        detector = self.heads.detector
        maps = detector.extract_feat(images)
        if isinstance(maps, Tensor):
            raise TypeError(
                f'{type(detector).__name__} with {type(detector.backbone).__name__} returns a '
                'single map in place of a tuple of maps, which is not supported'
            )
        return tuple(maps)


@TASK_UTILS.register_module()
class ResNetSplit(Split):
    """Split point ahead of a residual unit of mmdet's ResNet; the rest and the neck are N_task.

    Args:
        task_from: Name of the first unit of N_task in the backbone: ``layer4.2`` is the third unit
            of conv5. All outputs of the backbone (``out_indices``) must follow it, since only one
            map is propagated.
    """

    def __init__(self, task_from: str) -> None:
        self.task_from = task_from

    def check(self) -> None:
        backbone = getattr(self.heads.detector, 'backbone', None)
        known = isinstance(backbone, ResNet) and type(backbone).forward is ResNet.forward
        if not known or not self.heads.has_plain_features:
            raise TypeError(
                f"split=ResNetSplit cuts detectors made of mmdet's ResNet, a neck and heads, not "
                f'{self.heads.name} with backbone {type(backbone).__name__}; leave split out'
            )
        first = min(backbone.out_indices)
        names = {f'layer{s + 1}.{u}': (s, u) for (s, u), _ in _units(backbone) if s <= first}
        if self.task_from not in names:
            raise ValueError(
                f'ResNetSplit.task_from={self.task_from!r}: with out_indices='
                f'{tuple(backbone.out_indices)}, it must be one of {", ".join(names)}'
            )
        self.first = names[self.task_from]  # stage and unit, from 0

    def feature_names(self) -> list[str]:
        backbone, (stage, unit) = self.heads.detector.backbone, self.first
        stages = backbone.res_layers
        stem = [name for name, _ in backbone.named_children() if name not in stages]
        own = [f'{stages[stage]}.{index}' for index in range(unit)]
        return [f'backbone.{name}' for name in (*stem, *stages[:stage], *own)]

    def features(self, images: Tensor, samples: SampleList | None = None) -> tuple[Tensor, ...]:
        backbone = self.heads.detector.backbone
        if backbone.deep_stem:
            x = backbone.maxpool(backbone.stem(images))
        else:
            x = backbone.maxpool(backbone.relu(backbone.norm1(backbone.conv1(images))))
        for position, unit in _units(backbone):
            if position < self.first:
                x = unit(x)
        return (x,)

    def task_inputs(self, features: Sequence[Tensor]) -> tuple[HeadFamily, Inputs]:
        detector, (x,), ends = self.heads.detector, features, {}
        for position, unit in _units(detector.backbone):
            if position >= self.first:
                x = ends[position[0]] = unit(x)
        outputs = tuple(ends[stage] for stage in sorted(detector.backbone.out_indices))
        return self.heads, tuple(detector.neck(outputs)) if detector.with_neck else outputs


def plain_samples(count: int, size: tuple[int, int]) -> SampleList:
    """Return data samples of frames that have the size (height, width) of the network's input."""
    keys = ('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape')
    meta = dict.fromkeys(keys, size) | dict(scale_factor=(1.0, 1.0), border=(0,) * 4, flip=False)
    return [DetDataSample(metainfo=meta) for _ in range(count)]


def _units(backbone: ResNet) -> Iterator[tuple[tuple[int, int], nn.Module]]:
    """Yield the residual units in order, each with (stage, unit), both from 0."""
    for stage, name in enumerate(backbone.res_layers):
        for index, unit in enumerate(getattr(backbone, name)):
            yield (stage, index), unit


def _outside(parent: nn.Module, names: Collection[str], prefix: str = '') -> dict[str, nn.Module]:
    """Return the largest modules, by dotted name, outside of those in ``names``."""
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
