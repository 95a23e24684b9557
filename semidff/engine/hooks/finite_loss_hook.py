"""Hook that stops a training at the first loss that is infinite or NaN."""

import math

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner


class NonFiniteLossError(RuntimeError):
    """A loss became infinite or NaN."""


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Raise :class:`NonFiniteLossError` at the first loss that is infinite or NaN.

    Unlike mmdet's ``CheckInvalidLossHook`` it checks every term of the loss in every iteration and before the
    checkpoint hook, so that no damaged checkpoint is saved. The error names the iteration, the frames and remedies.
    """

    priority = 'VERY_HIGH'

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        values = {k: torch.as_tensor(v).detach().item() for k, v in (outputs or {}).items()}
        bad = {k: v for k, v in values.items() if not math.isfinite(v)}
        if bad:
            saved = runner.message_hub.runtime_info.get('last_ckpt')
            samples = (data_batch or {}).get('data_samples') or []
            frames = ', '.join(str(s.get('img_path', 'an unnamed frame')) for s in samples)
            raise NonFiniteLossError(
                f'iteration {runner.iter + 1}: {", ".join(f"{k} = {v}" for k, v in bad.items())} on '
                f'{frames or "this batch"}. This iteration was not saved. Lower the learning rate or clip the gradient '
                f'(optim_wrapper.clip_grad), then resume from {saved or "the last checkpoint"} with --resume.'
            )
