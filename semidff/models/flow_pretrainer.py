"""Flow pre-training on pairs with true optical flow, the role of Flying Chairs (DFF section 4; the *flow* baseline)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseModel
from torch import Tensor

from .losses import end_point_error


@MODELS.register_module()
class FlowPretrainer(BaseModel):
    """Trains a temporal module's flow network by the end-point error, at its output and at its coarse predictions.

    Its ``temporal.*`` weights are those of a video detector's temporal module. Errors are in pixels of the image.

    Args:
        temporal: Config of the temporal module.
        coarse_weights: Weights of the coarse predictions, coarse to fine; FlowNet's own by default.
    """

    def __init__(
        self,
        temporal: dict,
        coarse_weights: Sequence[float] = (0.32, 0.08, 0.02, 0.01),
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor or dict(type='VideoDataPreprocessor'), init_cfg)
        self.temporal = MODELS.build(temporal)
        self.coarse_weights = tuple(coarse_weights)

    def forward(self, inputs: Tensor, data_samples: list, mode: str = 'tensor'):
        """Losses (``mode='loss'``), data samples with ``pred_flow`` (``'predict'``), or the flow.

        Args:
            inputs: Pairs (N, 2, 3, H, W) of key frame and current frame.
            data_samples: Each with ``gt_flow.data`` (2, H, W): for each pixel of the current frame its offset to the
                key frame, in pixels.
            mode: As in mmengine.
        """
        key, current = (self.temporal.prepare(frame) for frame in inputs.unbind(1))
        output = self.temporal.flow_network(current, key)
        pixels = output.flow * self.temporal.flow_network.stride
        if mode == 'tensor':
            return pixels
        target = torch.stack([sample.gt_flow.data for sample in data_samples]).to(pixels)
        error = end_point_error(pixels, _down(target, pixels))
        if mode == 'predict':
            for sample, flow in zip(data_samples, pixels, strict=True):
                own = _down(sample.gt_flow.data[None].to(flow), flow)
                error = float(end_point_error(flow[None], own))
                sample.set_metainfo(dict(end_point_error=error))
            return data_samples
        losses = dict(loss_flow=error)
        for i, (weight, coarse) in enumerate(
            zip(self.coarse_weights, output.coarse_flows, strict=True)
        ):
            # One unit is 20 pixels of the half-size input, 40 of the image.
            losses[f'loss_flow{i}'] = weight * end_point_error(coarse * 40, _down(target, coarse))
        return losses


def _down(flow: Tensor, like: Tensor) -> Tensor:
    """True flow averaged over the cells of a coarser prediction."""
    return F.adaptive_avg_pool2d(flow, like.shape[-2:])
