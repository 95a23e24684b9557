"""R-FCN, the detector of both papers (Dai et al., NIPS 2016), and its conventions in the original MXNet code."""

from .original_boxes import OriginalAnchorSampler, OriginalBoxCoder, OriginalOverlaps
from .original_heads import OriginalBBoxHead, OriginalRoIHead, OriginalRPNHead
from .rfcn import RFCN, ExactPSRoIPool, PSRoIPool
