"""Hooks, loops and optimizers for mmengine's Runner."""

from .hooks.checkpoint_hooks import CheckpointHook, LastCheckpointHook
from .hooks.distillation_visualization_hook import DistillationVisualizationHook
from .hooks.load_parts_hook import ClassNamesHook, LoadPartsHook
from .hooks.training_hooks import (
    ChannelsLastHook,
    FiniteLossHook,
    FrozenNormHook,
    NonFiniteLossError,
    NumClassesHook,
    SeedHook,
)
from .loops.video_test_loop import VideoTestLoop
from .optimizers import BFloat16OptimWrapper, RMSpropMX
from .steps import StepHook
