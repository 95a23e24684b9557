"""The memory layout in which convolutions are fast."""

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from semidff.models.channels_last import to_channels_last


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Puts the model's weights into channels-last order ahead of training and testing.

    Convolutions hand the order on to their outputs. On CPUs they are about a half faster that way, with mixed
    precision twice as fast; on GPUs mixed precision gains too. Checkpoints are not affected.
    """

    def before_run(self, runner: Runner) -> None:
        """Converts the model."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        to_channels_last(model)
