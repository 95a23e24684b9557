"""Hooks, loops and optimizers for mmengine's Runner."""

from .hooks import (
    ChannelsLastHook,
    DistillationVisualizationHook,
    FiniteLossHook,
    LastCheckpointHook,
    LoadPartsHook,
    NonFiniteLossError,
    SeedHook,
)
from .loops import DistillationLoop, DistillationStepHook, VideoTestLoop
from .optimizers import BFloat16OptimWrapper, RMSpropMX
