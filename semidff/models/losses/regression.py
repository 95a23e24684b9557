"""Feature regression loss (semi-DFF Eq. 4)."""

import torch.nn.functional as F
from torch import Tensor


def regression_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared difference of propagated features and the teacher's.

    Args:
        predicted: Propagated features of shape (N, C, H, W).
        target: The teacher's features of the current frame, same shape; no gradient flows into them.

    Returns:
        Scalar, the mean over all elements. As in Eq. 4, there is neither a factor 1/2 nor a mask of cells that were
        sampled outside of the key frame's map.
    """
    return F.mse_loss(predicted, target.detach())


def l1_regression_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute difference (semi-DFF Table 3b, L1); arguments as of :func:`regression_loss`."""
    return F.l1_loss(predicted, target.detach())
