"""R-FCN, the detector of both papers (Dai et al., NIPS 2016)."""

from . import original
from .ps_roi_pool import ExactPSRoIPool, PSRoIPool
from .rfcn import RFCN, RFCNNeck, RFCNRoIHead, RFCNRPNHead, ScoreMaps
from .rfcn_bbox_head import RFCNBBoxHead
from .rfcn_heads import RFCNHeads
