"""End-point error of optical flow (FlowNet)."""

from collections.abc import Sequence

import torch
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric


@METRICS.register_module()
class EndPointErrorMetric(BaseMetric):
    """Mean distance between predicted and true flow over all pixels of all pairs, in pixels of the frames.

    Data samples have ``pred_flow.data`` and ``gt_flow.data``, both (2, H, W), in pixels.
    """

    default_prefix = 'flow'

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            predicted = sample['pred_flow']['data']
            true = sample['gt_flow']['data'].to(predicted.device, torch.float64)
            self.results.append(
                (_length(predicted.double() - true), _length(true), true[0].numel())
            )

    def compute_metrics(self, results: list[tuple[float, float, int]]) -> dict[str, float]:
        """Compute means over all pixels.

        Args:
            results: For each pair the sum of the errors, the sum of the errors of zero flow, and the number of pixels.

        Returns:
            ``EPE``; ``EPE_zero``, the error of zero flow; and ``reduction``, 1 - EPE / EPE_zero (NaN where nothing
            moves).
        """
        error, zero, pixels = (sum(column) for column in zip(*results, strict=True))
        reduction = 1 - error / zero if zero else float('nan')
        return dict(EPE=error / pixels, EPE_zero=zero / pixels, reduction=reduction)


def _length(flow: torch.Tensor) -> float:
    return float(flow.square().sum(0).sqrt().sum())
