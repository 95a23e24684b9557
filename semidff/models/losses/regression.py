"""Feature regression loss (semi-DFF Eq. 4)."""

import torch.nn.functional as F
from torch import Tensor


def regression_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference between propagated and teacher features.

    Args:
        predicted: Propagated features of shape (N, C, H, W).
        target: The teacher's features of the current frame, same shape; no gradient flows into them.

    Returns:
        Scalar: the mean over all elements, with neither a factor 1/2 nor a mask of cells that were sampled outside
        the key frame's map, exactly as Eq. 4.
    """
    return F.mse_loss(predicted, target.detach())


def l1_regression_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference, the L1 row of semi-DFF Table 3b. Shapes as in :func:`regression_loss`."""
    return F.l1_loss(predicted, target.detach())
