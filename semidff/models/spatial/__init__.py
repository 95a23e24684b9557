"""The spatial module: an adapter of any detector, its split points and families of heads."""

from .dense_heads import DenseHeads
from .detr_heads import DETRHeads
from .head_family import HEAD_FAMILIES, HeadFamily, HeadOutput
from .head_splits import EncoderSplit, OutputSplit, TowerSplit
from .segmentor_heads import SegmentorHeads
from .spatial_module import SpatialModule, feature_stride
from .special_heads import CenterNetHeads, TOODHeads, YOLOV3Heads
from .split import ExtractFeatSplit, ResNetSplit, Split, plain_samples
from .two_stage_heads import CascadeHeads, RFCNHeads, TwoStageHeads
