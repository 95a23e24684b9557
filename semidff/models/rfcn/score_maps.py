"""Outputs of R-FCN's last weights, ahead of proposals, pooling and vote."""

from typing import NamedTuple

from torch import Tensor


class ScoreMaps(NamedTuple):
    """Outputs of R-FCN's four 1x1 convolutions; the heads accept them in place of features.

    Attributes:
        anchor_scores: Score maps of the RPN, (N, A * K, H, W).
        anchor_deltas: Box maps of the RPN, (N, A * 4, H, W).
        roi_scores: Position-sensitive score maps (N, (C + 1) * k * k, H, W).
        roi_deltas: Position-sensitive box maps (N, 4 * G * k * k, H, W), G groups of boxes.
    """

    anchor_scores: Tensor
    anchor_deltas: Tensor
    roi_scores: Tensor
    roi_deltas: Tensor
