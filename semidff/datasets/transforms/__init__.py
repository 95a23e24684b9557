"""Transforms of frames, frame pairs and flow pairs."""

from .flow_transforms import LoadFlowPair, PackFlowPair, RandomColorFlowPair, RandomFlipFlowPair
from .load_label_map import LoadLabelMap
from .original_transforms import OriginalFlip, OriginalResize
from .pack_frame_pair import PackFramePair
from .pack_video_frame import PackVideoFrame
from .random_affine_flow_pair import RandomAffineFlowPair
from .random_crop_window import RandomCropWindow
from .random_pan import RandomPan
