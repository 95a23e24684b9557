"""End-point error, FlowNet's training loss and its metric."""

import torch
from torch import Tensor


def end_point_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean Euclidean distance between two flow fields of shape (N, 2, H, W), in their common unit."""
    # The root has no gradient at zero, where a flow network that starts at zero flow would stay.
    return torch.sqrt((predicted - target).square().sum(1) + 1e-12).mean()
