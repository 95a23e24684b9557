"""*sff-fast*, *sff-slow*: shallow feature flow, propagation by off-the-shelf optical flow (DFF Tables 3 and 4).

It works for any detector without training: key-frame features are warped by OpenCV's flow, without a scale field.
"""

from mmdet.registry import MODELS
from torch import nn

from semidff.models.temporal.normalization import with_normalization

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
        temporal = dict(
            type='TemporalModule',
            flow_network=dict(type='OpenCVFlow', preset=self.preset),
            feat_strides=strides,
            with_scale=False,
            padding=model.spatial.split.padding,
        )
        temporal = MODELS.build(with_normalization(temporal, model.data_preprocessor))
        super().__init__(model.with_temporal(temporal), keep_fields)


@METHODS.register_module(name='sff-fast')
class ShallowFlowFast(ShallowFlow):
    """SFF with the default settings of the flow."""

    preset = 'fast'


@METHODS.register_module(name='sff-slow')
class ShallowFlowSlow(ShallowFlow):
    """SFF with the most accurate settings of the flow."""

    preset = 'slow'
