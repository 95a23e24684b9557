"""R-FCN, the detector of both papers (Dai et al., NIPS 2016), and its original conventions."""

from .original_boxes import OriginalAnchorSampler, OriginalBoxCoder, OriginalOverlaps
from .original_heads import OriginalBBoxHead, OriginalRoIHead, OriginalRPNHead
from .rfcn import RFCN, ExactPSRoIPool
