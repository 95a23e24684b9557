"""Training and testing with mmengine's Runner: hooks, loops, optimizers."""

from .hooks import (
    ChannelsLastHook,
    DistillationVisualizationHook,
    FiniteLossHook,
    LastCheckpointHook,
    LoadPartsHook,
    NonFiniteLossError,
    SeedHook,
)
from .loops import DistillationLoop, DistillationStepHook, VideoTestLoop, VideoValLoop
from .optimizers import BFloat16OptimWrapper, RMSpropMX

__all__ = [
    'BFloat16OptimWrapper',
    'ChannelsLastHook',
    'DistillationLoop',
    'DistillationStepHook',
    'DistillationVisualizationHook',
    'FiniteLossHook',
    'LastCheckpointHook',
    'LoadPartsHook',
    'NonFiniteLossError',
    'RMSpropMX',
    'SeedHook',
    'VideoTestLoop',
    'VideoValLoop',
]
