"""*sff-fast*, *sff-slow*: features carried by off-the-shelf optical flow (SFF, DFF Tables 3 and 4).

For any detector, with nothing to train: features of the key frame are warped by OpenCV's flow, and not scaled.
"""

import math
from collections.abc import Sequence

import torch
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from torch import Tensor, nn

from semidff.models.video_detector import FlowField, KeyFrame

from .base import METHODS
from .propagate import Propagation


class ShallowFlow(Propagation):
    """Propagation with OpenCV's optical flow in the place of the model's own temporal module, if it has one.

    Args:
        model (nn.Module): A ``VideoDetector`` in eval mode; it is not changed.
        keep_fields (bool): As in :class:`Propagation`.
    """

    uses_temporal = False

    preset: str
    """Of :class:`~semidff.models.temporal.OpenCVFlow`."""

    def __init__(self, model: nn.Module, keep_fields: bool = False) -> None:
        flow_network = dict(
            type='OpenCVFlow', preset=self.preset, **_normalization(model.data_preprocessor)
        )
        temporal = dict(type='TemporalModule', flow_network=flow_network, with_scale=False)
        super().__init__(model.with_temporal(MODELS.build(temporal)), keep_fields)

    def _propagated(
        self,
        inputs: Tensor,
        samples: SampleList,
        keys: Sequence[KeyFrame],
        flow_field: FlowField | None = None,
    ) -> SampleList:
        """Finds out the strides of the features first, which no config names."""
        self.model.temporal.feat_strides = tuple(
            feature_stride(inputs.shape[-2:], level.shape[-2:]) for level in keys[0].features
        )
        return super()._propagated(inputs, samples, keys, flow_field)


@METHODS.register_module(name='sff-fast')
class ShallowFlowFast(ShallowFlow):
    """SFF-fast: the flow at its default setting."""

    preset = 'fast'


@METHODS.register_module(name='sff-slow')
class ShallowFlowSlow(ShallowFlow):
    """SFF-slow: the flow at its best setting."""

    preset = 'slow'


def feature_stride(image: Sequence[int], level: Sequence[int]) -> float:
    """Stride of a feature level, from sizes (height, width) of the network's input and of the level.

    Strides are powers of two as a rule, and the last cell of a row is seldom a whole one: 1000 pixels in 63 cells are
    stride 16, not 15.9. Only where no power of two fits is it the plain ratio (a ViT with patches of 14 pixels).
    """
    ratio = max(image[0] / level[0], image[1] / level[1])
    power = 2 ** math.ceil(math.log2(ratio))
    fits = all(math.ceil(side / power) == cells for side, cells in zip(image, level, strict=True))
    return power if fits else ratio


def _normalization(preprocessor: nn.Module) -> dict:
    """Mean, deviation and order of the channels, seen from what becomes of black, white and red pictures."""
    pictures = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
    pictures[1] = 255
    pictures[2, 2] = 255  # frames come from their files with blue first
    batch = preprocessor(dict(inputs=list(pictures), data_samples=None), False)
    black, white, red = batch['inputs'][:, :, 0, 0]
    std = 255 / (white - black)
    return dict(mean=(-black * std).tolist(), std=std.tolist(), rgb=bool(red[0] > black[0]))
