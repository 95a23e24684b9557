"""R-FCN's outputs ahead of everything that has no weights: proposals, pooling and vote."""

from typing import NamedTuple

from torch import Tensor


class ScoreMaps(NamedTuple):
    """What R-FCN's four 1x1 convolutions make of the features; the heads take it in place of the features.

    Attributes:
        anchor_scores: (N, A * K, H, W), of the RPN.
        anchor_deltas: (N, A * 4, H, W), likewise.
        roi_scores: Position-sensitive score maps (N, (C + 1) * k * k, H, W).
        roi_deltas: Position-sensitive box maps (N, 4 * G * k * k, H, W), G groups of boxes.
    """

    anchor_scores: Tensor
    anchor_deltas: Tensor
    roi_scores: Tensor
    roi_deltas: Tensor
