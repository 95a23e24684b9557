"""Region proposal network of R-FCN: two 1x1 convolutions on the first channels of the features."""

from collections.abc import Sequence

from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from torch import Tensor, nn

from .rfcn import ScoreMaps


@MODELS.register_module()
class RFCNRPNHead(RPNHead):
    """mmdet's RPN without its 3x3 convolution, reading ``features[:, :in_channels]`` (DFF section 4)."""

    def _init_layers(self) -> None:
        anchors = self.num_base_priors
        self.rpn_cls = nn.Conv2d(self.in_channels, anchors * self.cls_out_channels, 1)
        self.rpn_reg = nn.Conv2d(self.in_channels, anchors * self.bbox_coder.encode_size, 1)

    def score_maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (N, A * K, H, W) and raw deltas (N, A * 4, H, W) of features (N, C, H, W)."""
        x = x[:, : self.in_channels]
        return self.rpn_cls(x), self.rpn_reg(x)

    def forward(self, x: Sequence[Tensor] | ScoreMaps) -> tuple[list[Tensor], list[Tensor]]:
        """Return scores and raw deltas per level, from features or from score maps."""
        maps = [x[:2]] if isinstance(x, ScoreMaps) else [self.score_maps(level) for level in x]
        # Decoding and losses are in full precision, under autocast too.
        scores, deltas = ([m.float() for m in levels] for levels in zip(*maps, strict=True))
        return scores, deltas
