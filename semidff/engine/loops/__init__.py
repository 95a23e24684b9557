"""Training in steps, tests on videos."""

from .distillation_loop import DistillationLoop, DistillationStepHook
from .video_test_loop import VideoTestLoop, VideoValLoop

__all__ = ['DistillationLoop', 'DistillationStepHook', 'VideoTestLoop', 'VideoValLoop']
