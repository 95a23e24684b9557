"""Split point after R-FCN's last weights: score maps are propagated (DFF Table 5, 0 layers)."""

from collections.abc import Sequence

import torch
from mmdet.registry import TASK_UTILS
from torch import Tensor, nn

from semidff.models.spatial.split import ExtractFeatSplit

from .rfcn import RFCN, ScoreMaps


@TASK_UTILS.register_module()
class ScoreMapSplit(ExtractFeatSplit):
    """Split point after the 1x1 convolutions of R-FCN's heads; N_task has no weights.

    The maps of both heads are propagated as one map (N, 2 A + 4 A + (C + 1) k^2 + 4 G k^2, H, W), which has
    18 + 36 + 1519 + 196 = 1769 channels for ImageNet VID.
    """

    def check(self, detector: nn.Module) -> None:
        """Raise a TypeError if the detector is not R-FCN."""
        if not isinstance(detector, RFCN):
            raise TypeError(
                f'split=ScoreMapSplit propagates the score maps of R-FCN, but {type(detector).__name__} has no such '
                'maps; leave split out, or cut in the backbone with ResNetSplit'
            )

    def feature_names(self, detector: nn.Module) -> list[str]:
        return [*super().feature_names(detector), *detector.score_convs]

    def features(self, detector: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
        return (torch.cat(detector.score_maps(super().features(detector, images)), 1),)

    def finish(self, detector: nn.Module, features: Sequence[Tensor]) -> ScoreMaps:
        """Split the propagated map into the score maps."""
        (maps,) = features
        sizes = [conv.out_channels for conv in detector.score_convs.values()]
        return ScoreMaps(*maps.split(sizes, 1))
