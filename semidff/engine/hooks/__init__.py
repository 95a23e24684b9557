"""Hooks of the Runner."""

from .channels_last_hook import ChannelsLastHook
from .distillation_visualization_hook import DistillationVisualizationHook
from .finite_loss_hook import FiniteLossHook, NonFiniteLossError
from .last_checkpoint_hook import LastCheckpointHook
from .load_parts_hook import LoadPartsHook
from .seed_hook import SeedHook
