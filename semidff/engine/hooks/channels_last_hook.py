"""Hook for the memory layout in which convolutions are fast."""

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from semidff.models.channels_last import to_channels_last
from semidff.utils.model_building import unwrapped


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Convert the model's weights to channels-last layout before training and testing.

    Convolutions pass the layout on to their outputs. On CPUs this makes them about 1.5 times as fast, and twice as
    fast with mixed precision; on GPUs mixed precision benefits too. Checkpoints are not affected.
    """

    def before_run(self, runner: Runner) -> None:
        to_channels_last(unwrapped(runner.model))
