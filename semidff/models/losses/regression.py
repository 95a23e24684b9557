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


def steady_loss(key: Tensor, middle: Tensor, current: Tensor) -> Tensor:
    """Return the mean squared second difference of features at equally spaced times (semi-DFF Table 3b).

    "Steady feature loss" of Jayaraman and Grauman 2016: the change from the key frame to the middle frame equals that
    from the middle frame to the current one.

    Args:
        key: Features of the key frame, (N, C, H, W).
        middle: Features propagated to the middle frame, same shape.
        current: Features propagated to the current frame, same shape.
    """
    return F.mse_loss(current - middle, middle - key)
