from .coco_vid import CocoVIDDataset
from .crops import CropsDataset
from .flying_chairs import FlyingChairsDataset
from .imagenet import ImageNetDETDataset, ImageNetVIDDataset
from .intervals import FixedInterval, UniformInterval, WeightedInterval
from .labelled_pairs import LabelledPairDataset
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
    'PackFramePair',
    'SampleStream',
    'StreamSampler',
    'UniformInterval',
    'UnlabeledVideoDataset',
    'VideoSampler',
    'WeightedInterval',
]
