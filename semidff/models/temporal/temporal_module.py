"""The temporal module T: flow network, scale field and warp (semi-DFF 3.3, Eq. 1; DFF Eq. 3)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from semidff.checkpoints.building import is_kind
from semidff.models.data_preprocessor import normalization

from .correction import Correction, CurrentFrame
from .flow_networks import FlowNetwork
from .opencv_flow import OpenCVFlow
from .warp import MapSampler, align


@MODELS.register_module()
class TemporalModule(BaseModule):
    """Propagates features: ``f_p = warp(f_k, F(I_k, I_p)) * S(I_k, I_p)``.

    Weights of convolutions and deconvolutions are initialized from N(0, ``init_std``), the scale
    field to one (weight 0, bias 1), as in semi-DFF 3.5 and DFF section 3. No activation follows the
    product.

    Args:
        flow_network: Config of the flow network. It has ``stride``, ``hidden_channels`` and
            ``prepare``, and returns a :class:`~semidff.models.temporal.flow_networks.FlowOutput`.
        feat_channels: Channels of the propagated features, of all levels or of each one. Levels
            with the same number of channels share a scale field. In a video detector, channels and
            strides are those of its feature network.
        feat_strides: Stride of each feature level. All levels are warped with the same flow,
            sampled at the cells of the level and converted to its stride.
        init_std: Standard deviation of the initial weights; None for He initialization, with which
            training makes progress several times sooner.
        padding: What cells of the key frame outside its maps hold: ``zeros``, as in the papers, or
            ``border``, the nearest cell. A video detector's config may leave it out: zero logits
            would be detections, so outputs are continued by their border.
        correction_width: Channels of a :class:`~semidff.models.temporal.correction.Correction` of
            the warped and scaled maps; 0, as in the papers, for none.
        current_width: Channels of a :class:`~semidff.models.temporal.correction.CurrentFrame`
            network, whose output the correction reads, too; 0 for none.
        scale_bound: Largest distance of the scale field from 1, below 1; None, as in the papers,
            for no bound. The bounded field is ``1 + b tanh((S - 1) / b)``.
        shared_classes: Whether the correction treats all classes alike, see there. A correction of
            its own for each class learns to add boxes of those classes that the training videos
            show.
        gated: Whether maps change only where the frames differ, see :class:`ChangeGate`.
        class_maps: In a video detector, those of its split point
            (:meth:`~semidff.models.spatial.split.Split.class_maps`).
    """

    def __init__(
        self,
        flow_network: dict,
        feat_channels: int | Sequence[int] = 1024,
        feat_strides: Sequence[int] = (16,),
        with_scale: bool = True,
        init_std: float | None = 0.02,
        padding: str = 'zeros',
        correction_width: int = 0,
        current_width: int = 0,
        scale_bound: float | None = None,
        shared_classes: bool = False,
        gated: bool = False,
        class_maps: Sequence[tuple[int, int, int] | None] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.padding = padding
        self.flow_network = MODELS.build(flow_network)
        hidden = self.flow_network.hidden_channels
        if (with_scale or correction_width) and not hidden:
            raise ValueError(
                f'{type(self.flow_network).__name__} has no hidden features for a scale field or a '
                'correction: set with_scale=False and correction_width=0'
            )
        if current_width and not correction_width:
            raise ValueError('current_width needs a correction: set correction_width')
        self.feat_strides = tuple(feat_strides)
        self.feat_channels = _per_level(feat_channels, self.feat_strides)
        self.field_channels = tuple(dict.fromkeys(self.feat_channels))
        self.init_std = init_std
        self.correction_width, self.current_width = correction_width, current_width
        self.scale_bound = scale_bound
        self.scale = nn.Conv2d(hidden, sum(self.field_channels), 1) if with_scale else None
        self.correction = self.gate = None
        if correction_width or gated:
            factor = self.flow_network.stride // self.flow_network.downsampling
        if correction_width:
            current, channels = None, self.feat_channels
            if current_width:
                current = CurrentFrame(factor, current_width, correction_width)
            places = class_maps if shared_classes else None
            self.correction = Correction(hidden, channels, correction_width, current, places)
        if gated:
            self.gate = ChangeGate(factor)
        if isinstance(self.flow_network, FlowNetwork):
            self.flow_network.reset_parameters(init_std)
        if with_scale:
            nn.init.zeros_(self.scale.weight)
            nn.init.ones_(self.scale.bias)

    def prepare(self, image: Tensor) -> Tensor:
        """Return the flow network's downsampled input for normalized frames (N, 3, H, W)."""
        return self.flow_network.prepare(image)

    def fields(self, key: Tensor, current: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the fields of current frames and their key frames, both from :meth:`prepare`.

        Key frames may be one for all current frames.

        Returns:
            The feature flow (N, 2, h, w) in cells of the flow network's stride; the scale field (N,
            C, h, w), None without one; and the context (N, ``correction_width``, h, w), None
            without a correction. The scale field holds one field per number of channels of the
            levels, in the order of ``field_channels``.
        """
        flow, hidden, _ = self.flow_network(current, key.expand_as(current))
        scale = gate = context = None
        if self.scale is not None:
            scale = self.scale(hidden)
            if self.scale_bound is not None:
                scale = 1 + self.scale_bound * torch.tanh((scale - 1) / self.scale_bound)
        if self.gate is not None:
            gate = self.gate(key, current, flow.shape[-2:])
            flow = flow * gate
            scale = None if scale is None else 1 + (scale - 1) * gate
        if self.correction is not None:
            context = self.correction.context_of(hidden, current, gate)
        return flow, scale, context

    def propagate(
        self,
        features: Sequence[Tensor],
        flow: Tensor,
        scale: Tensor | None = None,
        context: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Warp, scale and correct key-frame features (N, C, h_l, w_l), with the :meth:`fields`."""
        own = self.flow_network.stride
        scales = {}
        if scale is not None:
            parts = scale.split(self.field_channels, 1)
            scales = dict(zip(self.field_channels, parts, strict=True))
        samplers, aligned, propagated = {}, {}, []
        for index, (level, stride) in enumerate(zip(features, self.feat_strides, strict=True)):
            channels, *size = level.shape[1:]
            place = (stride, *size)
            if place not in samplers:
                moved = align(flow, own, stride, size)
                moved = moved if stride == own else moved * (own / stride)
                samplers[place] = MapSampler(moved, self.padding == 'border')
            warped = samplers[place](level)
            if scale is not None:
                if (place, channels) not in aligned:
                    aligned[place, channels] = align(scales[channels], own, stride, size)
                warped = warped * aligned[place, channels]
            if self.correction is not None:
                if place not in aligned:
                    aligned[place] = align(context, own, stride, size)
                warped = self.correction(warped, aligned[place], index)
            propagated.append(warped)
        return tuple(propagated)

    def forward(
        self, key: Tensor, current: Tensor, features: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Predict the current frames' features from those of the key frames (semi-DFF Eq. 1)."""
        return self.propagate(features, *self.fields(key, current))


class ChangeGate(nn.Module):
    """Tells where a frame differs from its key frame: ``r^4 / (1 + r^4)``, ``r = d / t``.

    d is the mean absolute difference of the frames in a cell, the largest of 5 x 5 cells, and t a
    learned threshold, at first 6 of 256 gray levels. Where nothing moves, the key frame's maps are
    exact, and flow and correction could only disturb them.

    Args:
        factor: Pixels of the flow network's input in a cell of its flow.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.log_threshold = nn.Parameter(torch.tensor(math.log(6 / 255)))

    def forward(self, key: Tensor, current: Tensor, size: Sequence[int]) -> Tensor:
        """Return the gate (N, 1, h, w), 0 to 1, from the flow network's inputs."""
        change = (current - key).abs().mean(1, keepdim=True)
        change = F.avg_pool2d(change, self.factor, ceil_mode=True)
        change = F.max_pool2d(change, 5, 1, 2)[..., : size[0], : size[1]]
        ratio = (change / self.log_threshold.exp()).square().square()
        return ratio / (1 + ratio)


@MODELS.register_module()
class ResidualModule(BaseModule):
    """Predicts the change of features without a warp: ``f_p = f_k + R(I_k, I_p)``.

    It is the generative temporal module that semi-DFF Table 3a compares with feature flow. The
    paper names residual learning and an encoder-decoder, but no layers. Here R is a flow network
    whose last convolution has the features' channels in place of the flow's two, so that the
    flow-based module differs from it only in what is predicted. That convolution starts at zero:
    the untrained module copies the key frame's features. Arguments are those of
    :class:`TemporalModule`.
    """

    def __init__(
        self,
        flow_network: dict,
        feat_channels: int | Sequence[int] = 1024,
        feat_strides: Sequence[int] = (16,),
        init_std: float | None = 0.02,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.network = MODELS.build(flow_network)
        self.network.reset_parameters(init_std)
        del self.network.predict_flow  # DistributedDataParallel aborts if a weight gets no gradient
        self.feat_strides = tuple(feat_strides)
        self.feat_channels = _per_level(feat_channels, self.feat_strides)
        self.residual = nn.Conv2d(
            self.network.hidden_channels, sum(self.feat_channels), 3, padding=1
        )
        nn.init.zeros_(self.residual.weight)
        nn.init.zeros_(self.residual.bias)

    def prepare(self, image: Tensor) -> Tensor:
        return self.network.prepare(image)

    def forward(
        self, key: Tensor, current: Tensor, features: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        hidden, _ = self.network.refine(current, key.expand_as(current))
        residuals = self.residual(hidden).split(self.feat_channels, 1)
        return tuple(
            level + align(residual, self.network.stride, stride, level.shape[-2:])
            for level, residual, stride in zip(features, residuals, self.feat_strides, strict=True)
        )


def with_normalization(temporal: dict, preprocessor: nn.Module) -> dict:
    """Return a temporal module's config whose flow network fits the frames' normalization.

    The original divides mean-subtracted frames by 255; ``input_scale`` multiplies frames that are
    divided by a standard deviation by it first. OpenCV's flow gets mean, standard deviation and
    channel order. What is typed stays.
    """
    network = temporal.get('flow_network')
    if network is None or any(buffer.is_meta for buffer in preprocessor.buffers()):
        return temporal  # without flow, or on the meta device, which has no values
    own = normalization(preprocessor)
    if is_kind(network, OpenCVFlow):
        found = dict(mean=own['mean'], std=own['std'], rgb=own['channels'] == 'rgb')
    elif is_kind(network, FlowNetwork):
        found = dict(input_scale=sum(own['std']) / len(own['std']) / 255)
    else:
        return temporal
    return dict(temporal, flow_network={**found, **network})


def _per_level(feat_channels: int | Sequence[int], strides: Sequence[float]) -> tuple[int, ...]:
    if isinstance(feat_channels, int):
        return (feat_channels,) * len(strides)
    return tuple(feat_channels)
