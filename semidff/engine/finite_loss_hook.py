"""Stops a training whose loss is no longer a number, before a checkpoint could hold the damage."""

import math

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner


class NonFiniteLossError(RuntimeError):
    """A loss became infinite or NaN."""


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Raises :class:`NonFiniteLossError` at the first loss that is infinite or NaN.

    Unlike mmdet's ``CheckInvalidLossHook`` it looks at every part of the loss, runs ahead of the checkpoint hook and
    names the iteration, the frames and what can be done.

    Args:
        interval: Iterations between two looks; each costs a synchronisation on a GPU.
    """

    priority = 'VERY_HIGH'

    def __init__(self, interval: int = 1) -> None:
        self.interval = interval

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Checks the losses of the iteration."""
        if not self.every_n_train_iters(runner, self.interval):
            return
        values = {k: torch.as_tensor(v).detach().item() for k, v in (outputs or {}).items()}
        bad = {k: v for k, v in values.items() if not math.isfinite(v)}
        if bad:
            saved = (
                runner.message_hub.get_info('last_ckpt')
                if 'last_ckpt' in (runner.message_hub.runtime_info)
                else None
            )
            raise NonFiniteLossError(
                f'iteration {runner.iter + 1}: {", ".join(f"{k} = {v}" for k, v in bad.items())} on '
                f'{_frames(data_batch)}. No checkpoint was written since. Lower the learning rate or clip the gradient '
                f'(optim_wrapper.clip_grad), then continue from {saved or "the last checkpoint"} with --resume.'
            )


def _frames(data_batch: dict | None) -> str:
    samples = (data_batch or {}).get('data_samples') or []
    return ', '.join(str(s.get('img_path', 'an unnamed frame')) for s in samples) or 'this batch'
