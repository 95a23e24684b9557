"""Datasets of labeled and unlabeled videos, flow pairs and crops, with their transforms and samplers."""

from mmdet.registry import DATASETS, TRANSFORMS

from semidff.utils.deprecation import register_former_name

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

register_former_name(DATASETS, 'LabelledPairDataset', LabeledPairDataset)
register_former_name(TRANSFORMS, 'RandomColourFlowPair', RandomColorFlowPair, colour='color')
