"""The spatial module: an adapter around any mmdetection detector, its split points and families of heads."""

from .cascade_heads import CascadeHeads
from .centernet_heads import CenterNetHeads
from .dense_heads import DenseHeads
from .detr_heads import DETRHeads
from .head_family import HEAD_FAMILIES, HeadFamily, HeadOutput
from .output_split import OutputSplit
from .resnet_split import ResNetSplit
from .segmentor_heads import SegmentorHeads
from .spatial_module import SpatialModule, feature_stride
from .split import ExtractFeatSplit, Split
from .tood_heads import TOODHeads
from .tower_split import TowerSplit
from .two_stage_heads import TwoStageHeads
from .yolo_v3_heads import YOLOV3Heads
