"""Samplers: an endless stream of training samples, and whole videos in order."""

from .sample_stream import SampleStream, StreamSampler
from .video_sampler import VideoSampler

__all__ = ['SampleStream', 'StreamSampler', 'VideoSampler']
