"""The spatial module: an adapter around any mmdetection detector, and its split points."""

from .head_outputs import HeadOutputs
from .resnet_split import ResNetSplit
from .spatial_module import SpatialModule
from .split import ExtractFeatSplit, Split

__all__ = ['ExtractFeatSplit', 'HeadOutputs', 'ResNetSplit', 'SpatialModule', 'Split']
