"""Pre-training of flow networks on pairs with true flow (DFF section 4; the *flow* baseline).

The data are such as Flying Chairs.

FlowNet's finest prediction reads features at stride 4 of its input. DFF pools these features to the
feature network's stride and applies *the same layer* to them. Therefore this layer is trained on
the pooled features here, and the error of its prediction replaces FlowNet's error at stride 4.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from torch import Tensor

from .losses import end_point_error
from .temporal.temporal_module import with_normalization


@MODELS.register_module()
class FlowPretrainer(BaseModel):
    """Trains a temporal module's flow network with the end-point errors of all its predictions.

    Scale field and correction are not trained. Errors are in pixels of the image.

    Args:
        temporal: Config of the temporal module; ``input_scale`` follows from ``data_preprocessor``,
            as in a video detector.
        coarse_weights: Weights of the coarse predictions' mean errors, coarse to fine; the output's
            weight is 1. The default corresponds to FlowNet's 0.32, 0.08, 0.02, 0.01 and 0.005,
            which apply to errors summed over maps, each with four times the cells of the one
            before.
    """

    def __init__(
        self,
        temporal: dict,
        coarse_weights: Sequence[float] = (0.25, 0.25, 0.25, 0.5),
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor or dict(type='VideoDataPreprocessor'), init_cfg)
        self.temporal = MODELS.build(with_normalization(temporal, self.data_preprocessor))
        self.coarse_weights = tuple(coarse_weights)
        # Nothing else has a loss, and distributed training waits for the gradients of all trained
        # parameters.
        self.temporal.requires_grad_(False).flow_network.requires_grad_(True)

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'):
        """Estimate the flow of pairs (N, 2, 3, H, W) of key frame and current frame.

        For the losses, the samples hold ``gt_flow.data`` (2, H, W), the offset of each pixel of the
        current frame to its position in the key frame, in pixels.

        Returns:
            ``tensor``: the flow (N, 2, h, w) in pixels, at the flow network's stride. ``loss``: a
                dict of losses.
            ``predict``: the data samples with ``pred_flow.data`` (2, H, W) in pixels.
        """
        key, current = (self.temporal.prepare(frame) for frame in inputs.unbind(1))
        network = self.temporal.flow_network
        output = network(current, key)
        pixels = output.flow * network.stride
        if mode == 'tensor':
            return pixels
        if mode == 'predict':
            return self._predict(pixels, data_samples)
        target = torch.stack([sample.gt_flow.data for sample in data_samples]).to(pixels)
        losses = dict(loss_flow=end_point_error(pixels, _down(target, network.stride)))
        for i, (weight, coarse) in enumerate(
            zip(self.coarse_weights, output.coarse_flows, strict=True)
        ):
            stride = 64 * network.downsampling // 2**i
            error = end_point_error(coarse * network.unit, _down(target, stride))
            losses[f'loss_flow{i}'] = weight * error
        return losses

    def _predict(self, pixels: Tensor, data_samples: list) -> list:
        stride = self.temporal.flow_network.stride
        # Cells are stride pixels apart for any size of the frame.
        full = F.interpolate(pixels, scale_factor=stride, mode='bilinear', align_corners=False)
        for sample, flow in zip(data_samples, full, strict=True):
            height, width = sample.img_shape[:2]
            sample.pred_flow = PixelData(data=flow[:, :height, :width])
        return data_samples


def _down(flow: Tensor, stride: int) -> Tensor:
    # Averages over the cells of a prediction, of which the last ones may reach beyond the image.
    return F.avg_pool2d(flow, stride, ceil_mode=True)
