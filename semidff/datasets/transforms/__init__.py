"""Transforms of frames, frame pairs and flow pairs."""

from .flow_geometry import RandomAffineFlowPair
from .flow_transforms import LoadFlowPair, PackFlowPair, RandomColorFlowPair, RandomFlipFlowPair
from .original_transforms import OriginalFlip, OriginalResize
from .pack_frame_pair import PackFramePair
from .random_pan import RandomPan

__all__ = [
    'LoadFlowPair',
    'OriginalFlip',
    'OriginalResize',
    'PackFlowPair',
    'PackFramePair',
    'RandomAffineFlowPair',
    'RandomColorFlowPair',
    'RandomFlipFlowPair',
    'RandomPan',
]
