from . import original
from .head_outputs import HeadOutputs
from .ps_roi_pool import ExactPSRoIPool, PSRoIPool
from .resnet_split import ResNetSplit
from .rfcn import RFCN
from .rfcn_bbox_head import RFCNBBoxHead
from .rfcn_neck import RFCNNeck
from .rfcn_roi_head import RFCNRoIHead
from .rfcn_rpn_head import RFCNRPNHead
from .score_map_split import ScoreMapSplit
from .score_maps import ScoreMaps
from .spatial_module import SpatialModule
from .split import ExtractFeatSplit, Split

__all__ = [
    'RFCN',
    'ExactPSRoIPool',
    'PSRoIPool',
    'ExtractFeatSplit',
    'HeadOutputs',
    'RFCNBBoxHead',
    'RFCNNeck',
    'RFCNRPNHead',
    'RFCNRoIHead',
    'ResNetSplit',
    'ScoreMapSplit',
    'ScoreMaps',
    'SpatialModule',
    'Split',
    'original',
]
