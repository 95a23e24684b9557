"""R-FCN's box arithmetic as in the original MXNet code.

It follows from one convention: a box is given by its first and its *last* pixel, so a box from 3 to 5 is 3 wide
("+1").
"""

from .anchor_assigner import OriginalAnchorAssigner
from .anchor_sampler import OriginalAnchorSampler
from .anchors import OriginalAnchorGenerator
from .bbox_head import OriginalBBoxHead
from .box_coder import OriginalBoxCoder
from .overlaps import OriginalOverlaps
from .roi_head import OriginalRoIHead
from .rpn_head import OriginalRPNHead
