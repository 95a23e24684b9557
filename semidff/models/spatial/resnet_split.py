"""Split points inside the backbone (DFF Table 5: 5, 12 and 21 layers)."""

import re
from collections.abc import Iterator, Sequence

from mmdet.models.backbones import ResNet
from mmdet.registry import TASK_UTILS
from torch import Tensor, nn

from .head_family import head_family
from .split import FeatureSplit


@TASK_UTILS.register_module()
class ResNetSplit(FeatureSplit):
    """Split point ahead of a residual unit of mmdet's ResNet; the rest of the backbone and the neck belong to N_task.

    The temporal module's ``feat_channels`` and ``feat_strides`` are those of the unit's input.

    Args:
        task_from: Name of the first unit of N_task in the backbone: ``layer4.2`` is the third unit of conv5. All
            outputs of the backbone (``out_indices``) must follow the split point, since only one map is propagated.
    """

    def __init__(self, task_from: str) -> None:
        match = re.fullmatch(r'layer(\d+)\.(\d+)', str(task_from))
        if match is None:
            raise ValueError(
                "ResNetSplit.task_from must be the name of a residual unit such as 'layer4.2', "
                f'got {task_from!r}'
            )
        self.task_from = task_from
        self.first = int(match[1]) - 1, int(match[2])  # stage and unit, from 0

    def check(self, detector: nn.Module) -> None:
        """Check that the detector can be cut here.

        Raises:
            TypeError: If the backbone or the detector's ``extract_feat`` is not a known one.
            ValueError: If there is no such unit, or the backbone has an output ahead of it.
        """
        backbone = getattr(detector, 'backbone', None)
        known = isinstance(backbone, ResNet) and type(backbone).forward is ResNet.forward
        if not known or not head_family(detector).has_plain_features:
            raise TypeError(
                "split=ResNetSplit cuts detectors made of mmdet's ResNet, a neck and heads, not "
                f'{type(detector).__name__} with backbone {type(backbone).__name__}; leave split out to cut ahead '
                'of the heads'
            )
        if self.first not in dict(_units(backbone)):
            units = ', '.join(
                f'{name}.0 to {name}.{len(getattr(backbone, name)) - 1}'
                for name in backbone.res_layers
            )
            raise ValueError(
                f'ResNetSplit.task_from={self.task_from!r}: the backbone has no such unit; it has {units}'
            )
        early = [f'layer{i + 1}' for i in backbone.out_indices if i < self.first[0]]
        if early:
            raise ValueError(
                f'ResNetSplit.task_from={self.task_from!r}: the output of {", ".join(early)}, ahead of the cut, is '
                f'used too (out_indices={tuple(backbone.out_indices)}), but only one map is propagated. Cut at '
                f"'layer{min(backbone.out_indices) + 1}.0' or earlier, or leave split out"
            )

    def feature_names(self, detector: nn.Module) -> list[str]:
        backbone, (stage, unit) = detector.backbone, self.first
        stages = backbone.res_layers
        stem = [name for name, _ in backbone.named_children() if name not in stages]
        own = [f'{stages[stage]}.{index}' for index in range(unit)]
        return [f'backbone.{name}' for name in (*stem, *stages[:stage], *own)]

    def features(self, detector: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
        backbone = detector.backbone
        if backbone.deep_stem:
            x = backbone.maxpool(backbone.stem(images))
        else:
            x = backbone.maxpool(backbone.relu(backbone.norm1(backbone.conv1(images))))
        for position, unit in _units(backbone):
            if position < self.first:
                x = unit(x)
        return (x,)

    def finish(self, detector: nn.Module, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        (x,) = features
        ends = {}
        for position, unit in _units(detector.backbone):
            if position >= self.first:
                x = ends[position[0]] = unit(x)
        outputs = tuple(ends[stage] for stage in sorted(detector.backbone.out_indices))
        return tuple(detector.neck(outputs)) if detector.with_neck else outputs


def _units(backbone: ResNet) -> Iterator[tuple[tuple[int, int], nn.Module]]:
    """Yield the residual units in order, each with (stage, unit), both from 0."""
    for stage, name in enumerate(backbone.res_layers):
        for index, unit in enumerate(getattr(backbone, name)):
            yield (stage, index), unit
