"""Loops for distillation and for tests on videos."""

from .distillation_loop import DistillationLoop, DistillationStepHook
from .video_test_loop import VideoTestLoop
