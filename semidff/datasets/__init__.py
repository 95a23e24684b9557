"""Datasets of labeled and unlabeled videos, flow pairs and crops, with their transforms and samplers."""

from .coco_vid import CocoVIDDataset
from .crops import CropsDataset
from .flying_chairs import FlyingChairsDataset
from .imagenet import ImageNetDETDataset, ImageNetVIDDataset
from .intervals import UniformInterval
from .labeled_pairs import LabeledPairDataset
from .samplers import SampleStream, StreamSampler, VideoSampler
from .transforms import (
    LoadFlowPair,
    LoadLabelMap,
    OriginalFlip,
    OriginalResize,
    PackFlowPair,
    PackFramePair,
    PackVideoFrame,
    RandomAffineFlowPair,
    RandomColorFlowPair,
    RandomCropWindow,
    RandomFlipFlowPair,
    RandomPan,
)
from .unlabeled_videos import UnlabeledVideoDataset
