"""*sff-fast*, *sff-slow*: shallow feature flow, propagation by off-the-shelf optical flow (DFF Tables 3 and 4).

It works for any detector without training: key-frame features are warped by OpenCV's flow, without a scale field.
"""

import torch
from mmdet.registry import MODELS
from torch import nn

from .base import METHODS
from .propagate import Propagate


class ShallowFlow(Propagate):
    """Propagation by OpenCV's optical flow instead of the model's own temporal module, if it has one.

    The given model is not changed.
    """

    uses_temporal = False

    preset: str
    """Preset of :class:`~semidff.models.temporal.OpenCVFlow`."""

    def __init__(self, model: nn.Module, keep_fields: bool = False) -> None:
        with model.running():
            strides = model.spatial.probe_levels()[1]
        flow_network = dict(
            type='OpenCVFlow', preset=self.preset, **_normalization(model.data_preprocessor)
        )
        temporal = dict(
            type='TemporalModule',
            flow_network=flow_network,
            feat_strides=strides,
            with_scale=False,
            padding=model.spatial.split.padding,
        )
        super().__init__(model.with_temporal(MODELS.build(temporal)), keep_fields)


@METHODS.register_module(name='sff-fast')
class ShallowFlowFast(ShallowFlow):
    """SFF with the default settings of the flow."""

    preset = 'fast'


@METHODS.register_module(name='sff-slow')
class ShallowFlowSlow(ShallowFlow):
    """SFF with the most accurate settings of the flow."""

    preset = 'slow'


def _normalization(preprocessor: nn.Module) -> dict:
    """Return mean, std and channel order of a data preprocessor, from its results on black, white and red images."""
    images = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
    images[1] = 255
    images[2, 2] = 255  # frames are BGR
    batch = preprocessor(dict(inputs=list(images), data_samples=None), False)
    black, white, red = batch['inputs'][:, :, 0, 0]
    std = 255 / (white - black)
    return dict(mean=(-black * std).tolist(), std=std.tolist(), rgb=bool(red[0] > black[0]))
