"""The spatial module: an adapter around any mmdetection detector, its split points and families of heads."""

from .dense_heads import DenseHeads
from .head_family import HEAD_FAMILIES, HeadFamily, HeadOutputs
from .resnet_split import ResNetSplit
from .spatial_module import SpatialModule, feature_stride
from .split import ExtractFeatSplit, Split
from .two_stage_heads import TwoStageHeads
