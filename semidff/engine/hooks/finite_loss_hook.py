"""Hook that stops a training at the first loss or weight that is infinite or NaN, and reports one that diverges."""

import math
from pathlib import Path

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from semidff.utils.model_building import unwrapped

WINDOW = 100
"""Iterations over which the loss is averaged."""


class NonFiniteLossError(RuntimeError):
    """A loss or a trained weight became infinite or NaN."""


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Raise :class:`NonFiniteLossError` at the first loss that is infinite or NaN.

    A finite loss can have a gradient that is not, and in a distributed training the loss of another process may be
    NaN. The trained weights are therefore checked before a checkpoint is saved.

    A loss that stays finite but rises tenfold is reported by a warning: flow that points outside the maps has no
    gradient, so that the training does not recover.

    Unlike mmdet's ``CheckInvalidLossHook`` it checks every term of the loss in every iteration and before the
    checkpoint hook, so that no damaged checkpoint is saved. The error names the iteration, the frames and remedies.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._saved: str | None = None
        self._names: frozenset[str] = frozenset()
        self._recent: list[float] = []
        self._lowest = math.inf

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        # The checkpoint hook enters the name of a checkpoint before it is saved.
        self._saved = runner.message_hub.runtime_info.get('last_ckpt')
        values = {k: torch.as_tensor(v).detach().item() for k, v in (outputs or {}).items()}
        bad = {k: v for k, v in values.items() if not math.isfinite(v)}
        if bad:
            samples = (data_batch or {}).get('data_samples') or []
            frames = ', '.join(str(s.get('img_path', 'an unnamed frame')) for s in samples)
            raise NonFiniteLossError(
                f'iteration {runner.iter + 1}: {", ".join(f"{k} = {v}" for k, v in bad.items())} on '
                f'{frames or "this batch"}. This iteration was not saved. {self._remedy(runner)}'
            )
        self._watch(runner, values)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        model = unwrapped(runner.model)
        trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
        bad = [name for name in trained if not checkpoint['state_dict'][name].isfinite().all()]
        if bad:
            raise NonFiniteLossError(
                f'iteration {checkpoint["meta"]["iter"]}: {len(bad)} of {len(trained)} trained weights are not finite, '
                f'first {bad[0]}. The checkpoint was not saved. {self._remedy(runner)}'
            )

    def _watch(self, runner: Runner, values: dict[str, float]) -> None:
        """Compare the mean loss of the last iterations with the lowest mean of a step of the training."""
        if self._names != (names := frozenset(values)):  # another step has another loss
            self._names, self._recent, self._lowest = names, [], math.inf
        self._recent.append(values.get('loss', 0.0))
        if len(self._recent) < WINDOW:
            return
        mean, self._recent = sum(self._recent) / WINDOW, []
        if mean > 10 * self._lowest > 0:
            runner.logger.warning(
                f'iteration {runner.iter + 1}: the loss is {mean:.3g} on average over {WINDOW} iterations and was '
                f'{self._lowest:.3g} before; the training has probably diverged. Start it again with a lower learning '
                'rate or a lower bound of the gradient (optim_wrapper.clip_grad)'
            )
        self._lowest = min(self._lowest, mean)

    def _remedy(self, runner: Runner) -> str:
        clip = 'clip the gradient (optim_wrapper.clip_grad)'
        if self._saved is None:
            return f'Start again with a lower learning rate, or {clip}.'
        moved = Path(runner.work_dir) / Path(self._saved).name
        return (
            f'To resume from {moved if moved.is_file() else self._saved} with --resume, {clip}; to lower the learning '
            'rate, start again, since a resumed training keeps its own.'
        )
