from .head_outputs import HeadOutputs
from .ps_roi_pool import ExactPSRoIPool
from .rfcn import RFCN
from .rfcn_bbox_head import RFCNBBoxHead
from .rfcn_neck import RFCNNeck
from .rfcn_roi_head import RFCNRoIHead
from .rfcn_rpn_head import RFCNRPNHead
from .spatial_module import SpatialModule

__all__ = [
    'RFCN',
    'ExactPSRoIPool',
    'HeadOutputs',
    'RFCNBBoxHead',
    'RFCNNeck',
    'RFCNRPNHead',
    'RFCNRoIHead',
    'SpatialModule',
]
