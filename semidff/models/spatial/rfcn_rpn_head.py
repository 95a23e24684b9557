"""R-FCN's region proposal network: two 1x1 convolutions on the first channels of the features."""

from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class RFCNRPNHead(RPNHead):
    """mmdet's RPN without its 3x3 convolution, reading ``features[:, :in_channels]`` (DFF section 4)."""

    def _init_layers(self) -> None:
        """Creates the two sibling 1x1 convolutions."""
        anchors = self.num_base_priors
        self.rpn_cls = nn.Conv2d(self.in_channels, anchors * self.cls_out_channels, 1)
        self.rpn_reg = nn.Conv2d(self.in_channels, anchors * self.bbox_coder.encode_size, 1)

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (N, A * K, H, W) and raw deltas (N, A * 4, H, W) of features (N, C, H, W)."""
        x = x[:, : self.in_channels]
        # Boxes are decoded and losses taken in full precision, under autocast too.
        return self.rpn_cls(x).float(), self.rpn_reg(x).float()
