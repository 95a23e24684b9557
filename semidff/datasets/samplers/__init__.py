"""Samplers of endless streams of training samples and of whole videos."""

from .sample_stream import SampleStream
from .stream_sampler import StreamSampler
from .video_sampler import VideoSampler
