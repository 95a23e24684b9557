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
    names the iteration, the frames and what can be done. It looks at every iteration, so that no checkpoint can be
    saved in between.
    """

    priority = 'VERY_HIGH'

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Checks the losses of the iteration."""
        values = {k: torch.as_tensor(v).detach().item() for k, v in (outputs or {}).items()}
        bad = {k: v for k, v in values.items() if not math.isfinite(v)}
        if bad:
            saved = runner.message_hub.runtime_info.get('last_ckpt')
            raise NonFiniteLossError(
                f'iteration {runner.iter + 1}: {", ".join(f"{k} = {v}" for k, v in bad.items())} on '
                f'{_frames(data_batch)}. Nothing was saved since. Lower the learning rate or clip the gradient '
                f'(optim_wrapper.clip_grad), then continue from {saved or "the last checkpoint"} with --resume.'
            )


def _frames(data_batch: dict | None) -> str:
    samples = (data_batch or {}).get('data_samples') or []
    return ', '.join(str(s.get('img_path', 'an unnamed frame')) for s in samples) or 'this batch'
