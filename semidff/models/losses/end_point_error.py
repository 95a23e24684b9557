"""End-point error, training loss and metric of FlowNet."""

import torch
from torch import Tensor


def end_point_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the mean Euclidean distance of two flow fields of shape (N, 2, H, W), in their unit."""
    # The square root has no gradient at 0, the error of zero flow without motion.
    return torch.sqrt((predicted - target).square().sum(1) + 1e-12).mean()
