"""Datasets of labeled and unlabeled videos, and flow pairs, with their transforms and samplers."""

from .coco_vid import CocoVIDDataset
from .imagenet import ImageNetDETDataset, ImageNetVIDDataset
from .intervals import UniformInterval
from .labeled_pairs import LabeledPairDataset
from .pretraining import FlyingChairsDataset
from .samplers import SampleStream, StreamSampler, VideoSampler
from .transforms.flow_transforms import (
    LoadFlowPair,
    PackFlowPair,
    RandomAffineFlowPair,
    RandomColorFlowPair,
    RandomFlipFlowPair,
)
from .transforms.frame_transforms import (
    DrawInstances,
    LoadLabelMap,
    OriginalFlip,
    OriginalResize,
    RandomCropWindow,
    RandomPan,
)
from .transforms.pack import PackFramePair, PackVideoFrame
from .unlabeled_videos import UnlabeledVideoDataset
