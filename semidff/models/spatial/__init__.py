"""The spatial module: an adapter around any mmdetection detector, its split points and families of heads."""

from .dense_heads import DenseHeads
from .head_family import HEAD_FAMILIES, HeadFamily, HeadOutput
from .head_splits import OutputSplit, TowerSplit
from .segmentor_heads import SegmentorHeads
from .spatial_module import SpatialModule, feature_stride, plain_samples
from .special_heads import CenterNetHeads, DETRHeads, TOODHeads, YOLOV3Heads
from .split import ExtractFeatSplit, ResNetSplit, Split
from .two_stage_heads import CascadeHeads, RFCNHeads, TwoStageHeads
