"""The generative temporal module that semi-DFF Table 3a compares with feature flow."""

from collections.abc import Sequence

from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from .align import align
from .level_channels import level_channels


@MODELS.register_module()
class ResidualModule(BaseModule):
    """Predicts the change of the features from both frames, without a warp: ``f_p = f_k + R(I_k, I_p)``.

    The paper names residual learning and an encoder-decoder, but no layers. Here R is a flow network whose last
    convolution has the features' channels in place of the flow's two, so that the flow-based module differs from it
    only in what is predicted. That convolution starts at zero: the untrained module copies the key frame's features.

    Args:
        flow_network: Config of the flow network that gives encoder and decoder.
        feat_channels: Channels of each feature level, or of all.
        feat_strides: Stride of each feature level.
        init_std: Standard deviation of the other initial weights; None for He initialization.

    Raises:
        TypeError: If the flow network has no refinement.
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
        if not hasattr(self.network, 'predict0'):
            raise TypeError(
                'ResidualModule needs a flow network with refinement, such as FlowNetS; '
                f'{type(self.network).__name__} has none'
            )
        self.network.reset_parameters(init_std)
        del self.network.predict_flow  # DistributedDataParallel aborts if a weight gets no gradient
        self.feat_strides = tuple(feat_strides)
        self.feat_channels = level_channels(feat_channels, feat_strides)
        self.residual = nn.Conv2d(
            self.network.hidden_channels, sum(self.feat_channels), 3, padding=1
        )
        nn.init.zeros_(self.residual.weight)
        nn.init.zeros_(self.residual.bias)

    def prepare(self, image: Tensor) -> Tensor:
        """Return the network's downsampled input for normalized frames (N, 3, H, W)."""
        return self.network.prepare(image)

    def forward(
        self, key: Tensor, current: Tensor, features: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Predict the current frames' features.

        Args:
            key: Key frames from :meth:`prepare`, (N, 3, H / 2, W / 2).
            current: Current frames, likewise.
            features: Key-frame features, (N, C, h_l, w_l) per level.
        """
        hidden = self.network.pool(self.network.refine(current, key)[0])
        residuals = self.residual(hidden).split(self.feat_channels, 1)
        return tuple(
            level + align(residual, self.network.stride, stride, level.shape[-2:])
            for level, residual, stride in zip(features, residuals, self.feat_strides, strict=True)
        )
