"""Hooks, loops and optimizers for mmengine's Runner."""

import semidff.utils.run_folder  # makes the Runner write checkpoints atomically

from .hooks.channels_last_hook import ChannelsLastHook
from .hooks.checkpoint_hook import CheckpointHook
from .hooks.class_names_hook import ClassNamesHook
from .hooks.distillation_visualization_hook import DistillationVisualizationHook
from .hooks.finite_loss_hook import FiniteLossHook, NonFiniteLossError
from .hooks.last_checkpoint_hook import LastCheckpointHook
from .hooks.load_parts_hook import LoadPartsHook
from .hooks.num_classes_hook import NumClassesError, NumClassesHook
from .hooks.seed_hook import SeedHook
from .loops.accumulating_loop import AccumulatingLoop
from .loops.distillation_loop import DistillationLoop, DistillationStepHook
from .loops.video_test_loop import VideoTestLoop
from .optimizers.bfloat16_optim_wrapper import BFloat16OptimWrapper
from .optimizers.rmsprop import RMSpropMX
