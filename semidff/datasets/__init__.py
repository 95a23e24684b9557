from .camera_motion import RandomPan
from .coco_vid import CocoVIDDataset
from .crops import CropsDataset
from .flow_geometry import RandomAffineFlowPair
from .flow_transforms import (
    LoadFlowPair,
    PackFlowPair,
    RandomColourFlowPair,
    RandomFlipFlowPair,
)
from .flying_chairs import FlyingChairsDataset
from .imagenet import ImageNetDETDataset, ImageNetVIDDataset
from .intervals import FixedInterval, UniformInterval, WeightedInterval
from .labelled_pairs import LabelledPairDataset
from .original_transforms import OriginalFlip, OriginalResize
from .sample_stream import SampleStream, StreamSampler
from .transforms import PackFramePair
from .unlabeled_videos import UnlabeledVideoDataset
from .video_sampler import VideoSampler

__all__ = [
    'CocoVIDDataset',
    'CropsDataset',
    'FixedInterval',
    'FlyingChairsDataset',
    'ImageNetDETDataset',
    'ImageNetVIDDataset',
    'LabelledPairDataset',
    'LoadFlowPair',
    'OriginalFlip',
    'OriginalResize',
    'PackFlowPair',
    'PackFramePair',
    'RandomAffineFlowPair',
    'RandomColourFlowPair',
    'RandomFlipFlowPair',
    'RandomPan',
    'SampleStream',
    'StreamSampler',
    'UniformInterval',
    'UnlabeledVideoDataset',
    'VideoSampler',
    'WeightedInterval',
]
