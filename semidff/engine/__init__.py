from .bfloat16_optim_wrapper import BFloat16OptimWrapper
from .channels_last_hook import ChannelsLastHook
from .checkpoint import CheckpointError, load_strict
from .distillation_loop import DistillationLoop, DistillationStepHook
from .finite_loss_hook import FiniteLossHook, NonFiniteLossError
from .last_checkpoint_hook import LastCheckpointHook
from .load_parts_hook import LoadPartsHook
from .rmsprop import RMSpropMX
from .seed_hook import SeedHook
from .video_test_loop import VideoTestLoop, VideoValLoop
from .visualization_hook import DistillationVisualizationHook

__all__ = [
    'BFloat16OptimWrapper',
    'ChannelsLastHook',
    'CheckpointError',
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
    'load_strict',
]
