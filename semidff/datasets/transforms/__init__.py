"""Transforms of frames, frame pairs and flow pairs."""

from .flow_transforms import (
    LoadFlowPair,
    PackFlowPair,
    RandomAffineFlowPair,
    RandomColorFlowPair,
    RandomFlipFlowPair,
)
from .frame_transforms import (
    LoadLabelMap,
    OriginalFlip,
    OriginalResize,
    RandomCropWindow,
    RandomPan,
)
from .pack import PackFramePair, PackVideoFrame
