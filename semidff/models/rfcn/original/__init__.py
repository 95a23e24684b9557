"""R-FCN's box arithmetic as in the original MXNet code.

It follows from one convention: a box is given by its first and its *last* pixel, so a box from 3 to 5 is 3 wide
("+1").
"""

from .bbox_head import OriginalBBoxHead
from .boxes import (
    OriginalAnchorAssigner,
    OriginalAnchorGenerator,
    OriginalAnchorSampler,
    OriginalBoxCoder,
    OriginalOverlaps,
)
from .roi_head import OriginalRoIHead
from .rpn_head import OriginalRPNHead
