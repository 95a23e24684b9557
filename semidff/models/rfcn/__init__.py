"""R-FCN, the detector of both papers (Dai et al., NIPS 2016)."""

from . import original
from .ps_roi_pool import ExactPSRoIPool, PSRoIPool
from .rfcn import RFCN, ScoreMaps
from .rfcn_bbox_head import RFCNBBoxHead
from .rfcn_heads import RFCNHeads
from .rfcn_neck import RFCNNeck
from .rfcn_roi_head import RFCNRoIHead
from .rfcn_rpn_head import RFCNRPNHead
