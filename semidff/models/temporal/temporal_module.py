"""The temporal module T: flow network, scale field and warp (semi-DFF 3.3, Eq. 1; DFF Eq. 3)."""

from collections.abc import Sequence

from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from .align import align
from .correction import Correction
from .flownet_inception import FlowNetInception
from .flownet_light import FlowNetLight
from .flownet_s import FlowNetS
from .level_channels import level_channels
from .refinement import FlowNetwork
from .warp import Sampler

MODELS.register_module(name='FlowNetS', module=FlowNetS, force=False)
MODELS.register_module(name='FlowNetInception', module=FlowNetInception, force=False)
MODELS.register_module(name='FlowNetLight', module=FlowNetLight, force=False)


@MODELS.register_module()
class TemporalModule(BaseModule):
    """Propagates features from key frames to current frames: ``f_p = warp(f_k, F(I_k, I_p)) * S(I_k, I_p)``.

    Weights of convolutions and deconvolutions are initialized from N(0, ``init_std``), the scale field to one (weight
    0, bias 1), as in semi-DFF 3.5 and DFF section 3. No activation follows the product.

    Args:
        flow_network: Config of the flow network. It has ``stride``, ``hidden_channels`` and ``prepare``, and returns
            a :class:`~semidff.models.temporal.refinement.FlowOutput`.
        feat_channels: Channels of the propagated features, of all levels or of each one. Levels with the same number
            of channels share a scale field. A video detector's config may leave out both settings, which are then
            probed.
        feat_strides: Stride of each feature level. All levels are warped with the same flow, sampled at the cells of
            the level and converted to its stride.
        with_scale: Whether there is a scale field; without it, the warped features are returned as they are.
        init_std: Standard deviation of the initial weights; None for He initialization, with which training makes
            progress several times sooner.
        padding: What cells of the key frame outside its maps hold: ``zeros``, as in the papers, or ``border``, the
            nearest cell. A video detector's config may leave it out: zero logits would be detections, so outputs are
            continued by their border.
        correction_width: Channels of a :class:`~semidff.models.temporal.correction.Correction` of the warped and
            scaled maps; 0, as in the papers, for none.

    Raises:
        ValueError: If the padding is unknown, the flow network has no hidden features for a scale field or a
            correction (``OpenCVFlow``), or a correction does not know the channels of each level.
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
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if padding not in ('zeros', 'border'):
            raise ValueError(f"padding must be 'zeros' or 'border', got {padding!r}")
        self.padding = padding
        self.flow_network = MODELS.build(flow_network)
        self.feat_strides = tuple(feat_strides)
        self.feat_channels = feat_channels
        channels = (feat_channels,) if isinstance(feat_channels, int) else feat_channels
        self.field_channels = tuple(dict.fromkeys(channels))
        self.init_std = init_std
        if (with_scale or correction_width) and not self.flow_network.hidden_channels:
            raise ValueError(
                f'{type(self.flow_network).__name__} has no hidden features to predict a scale field or a correction '
                'from: set with_scale=False and correction_width=0'
            )
        self.scale = (
            nn.Conv2d(self.flow_network.hidden_channels, sum(self.field_channels), 1)
            if with_scale
            else None
        )
        self.correction_width = correction_width
        self.correction = (
            Correction(
                self.flow_network.hidden_channels,
                level_channels(feat_channels, feat_strides),
                correction_width,
            )
            if correction_width
            else None
        )
        self._reset()

    def _reset(self) -> None:
        if isinstance(self.flow_network, FlowNetwork):
            self.flow_network.reset_parameters(self.init_std)
        if self.scale is not None:
            nn.init.zeros_(self.scale.weight)
            nn.init.ones_(self.scale.bias)

    def prepare(self, image: Tensor) -> Tensor:
        """Return the flow network's downsampled input for normalized frames (N, 3, H, W)."""
        return self.flow_network.prepare(image)

    def fields(self, key: Tensor, current: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return what the flow network says about pairs, for :meth:`propagate`.

        Args:
            key: Key frames from :meth:`prepare`.
            current: Current frames from :meth:`prepare`.

        Returns:
            The feature flow (N, 2, h, w) in cells of the flow network's stride; the scale field (N, C, h, w), None
            without one; and the context (N, ``correction_width``, h, w), None without a correction. The scale field
            holds one field per number of channels of the levels, in the order of ``field_channels``.
        """
        output = self.flow_network(current, key)
        return (
            output.flow,
            None if self.scale is None else self.scale(output.hidden),
            None if self.correction is None else self.correction.context(output.hidden),
        )

    def propagate(
        self,
        features: Sequence[Tensor],
        flow: Tensor,
        scale: Tensor | None = None,
        context: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Warp, scale and correct the key-frame features, (N, C, h_l, w_l) per level.

        Args:
            features: The key-frame features.
            flow, scale, context: Result of :meth:`fields`.

        Raises:
            ValueError: If the levels do not fit the temporal module's strides and channels, or the context is missing.
        """
        if self.correction is not None and context is None:
            raise ValueError('this temporal module has a correction: give the context of fields()')
        if len(features) != len(self.feat_strides):
            raise ValueError(
                f'the feature network returned {len(features)} levels, but feat_strides names '
                f'{len(self.feat_strides)}: {self.feat_strides}'
            )
        own = self.flow_network.stride
        fields = {}
        if scale is not None:
            fields = dict(
                zip(self.field_channels, scale.split(self.field_channels, 1), strict=True)
            )
        samplers, aligned, propagated = {}, {}, []
        for index, (level, stride) in enumerate(zip(features, self.feat_strides, strict=True)):
            channels, *size = level.shape[1:]
            place = (stride, *size)
            if place not in samplers:
                self._check_extent(size, stride, flow.shape[-2:])
                moved = align(flow, own, stride, size)
                moved = moved if stride == own else moved * (own / stride)
                samplers[place] = Sampler(moved, self.padding == 'border')
            warped = samplers[place](level)
            if scale is not None:
                if (place, channels) not in aligned:
                    self._check_channels(channels)
                    aligned[place, channels] = align(fields[channels], own, stride, size)
                warped = warped * aligned[place, channels]
            if context is not None:
                if place not in aligned:
                    aligned[place] = align(context, own, stride, size)
                warped = self.correction(warped, aligned[place], index)
            propagated.append(warped)
        return tuple(propagated)

    def _check_channels(self, channels: int) -> None:
        """Raise a ValueError if there is no scale field for a level."""
        if channels not in self.field_channels:
            known = ' and '.join(map(str, self.field_channels))
            raise ValueError(
                f'the propagated features have {channels} channels, but the scale field has {known}: set '
                f"temporal.feat_channels={channels} (it changes with the detector's split point)"
            )

    def _check_extent(self, size: Sequence[int], stride: float, flow_size: Sequence[int]) -> None:
        """Raise a ValueError if a level cannot have this stride."""
        for cells, flow_cells in zip(size, flow_size, strict=True):
            # The frame's side is known up to a cell of the flow, and networks round up or down.
            extent = cells * stride / self.flow_network.stride
            tolerance = 1 + 2 * max(stride / self.flow_network.stride, 1)
            if abs(extent - flow_cells) > tolerance:
                raise ValueError(
                    f'a feature level has {tuple(size)} cells, the flow {tuple(flow_size)} of stride '
                    f'{self.flow_network.stride}, so the stride of this level is not {stride}: set '
                    'temporal.feat_strides to the strides of the feature network, or leave it out'
                )

    def forward(
        self, key: Tensor, current: Tensor, features: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Predict the current frames' features (semi-DFF Eq. 1).

        Args:
            key: Key frames from :meth:`prepare`, (N, 3, H / 2, W / 2).
            current: Current frames, likewise.
            features: Key-frame features, (N, C, h_l, w_l) per level.
        """
        return self.propagate(features, *self.fields(key, current))
